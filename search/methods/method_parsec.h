/* method_parsec.h -- PARSEC's part of the settings. */
#ifndef PN_METHOD_PARSEC_H
#define PN_METHOD_PARSEC_H

#include "search/methods/parsec.h"
#include "search/methods/settings.h"

/* Resolved settings of a search by PARSEC. */
pn_search_settings pn_settings_search(const pn_settings *settings);

#endif
