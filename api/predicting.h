/* predicting.h -- logits of arrays of images; private to this room. */
#ifndef PN_API_PREDICTING_H
#define PN_API_PREDICTING_H

#include "api/parts.h"
#include "search/network/predict.h"

/* Overwrites logits (n,classes) by those of images that passed the check, batch by batch. */
pn_status pn_api_predict(pn_inference *inference, pn_api_batch *batch, const pn_api_given *given,
                         float *logits);

/* With all that a caller can get wrong: what the two calls of the interface do. */
pn_status pn_api_predict_into(pn_inference *inference, pn_api_batch *batch,
                              const pn_api_given *given, float *logits, int64_t room);

#endif
