/* drawing.h -- the two cells of an architecture as a picture: for Graphviz, and drawn here.
 *
 * Colours tell families of ops apart, also to the colour-blind (Okabe and Ito 2008); every op has
 * its name beside. */
#ifndef PN_DRAWING_H
#define PN_DRAWING_H

#include "kernels/status.h"
#include "search/export/page.h"
#include "search/network/space.h"

/* A directed graph in Graphviz's language (`dot -Tsvg`): a box is a node, an arrow an op. *text is
 * the caller's. PN_EMEM. The architecture is one of the whole space. */
pn_status pn_drawing_dot(const pn_arch *arch, char **text);

/* A page of SVG that needs nothing else: no script, no font, light or dark as the viewer asks for
 * it. A box is a node and holds its ops; a line is a tensor. *text is the caller's. PN_EMEM.
 * The architecture is one of the whole space; the same one gives the same bytes. */
pn_status pn_drawing_svg(const pn_arch *arch, char **text);

/* The same for a page of HTML: one cell as an <svg class="cells wide">, of 478 to 1120 pixels by
 * its depth, or as an <svg class="cells narrow"> of 282; and the rules for all of them, which
 * belong into its <style>. */
void pn_drawing_cell(pn_page *page, const pn_arch *arch, pn_kind kind);
void pn_drawing_narrow_cell(pn_page *page, const pn_arch *arch, pn_kind kind);
void pn_drawing_style(pn_page *page);

#endif
