/* page.c -- see page.h. */
#include "search/export/page.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void pn_page_put(pn_page *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0 || p->no_memory) {
        p->no_memory = true;
        return;
    }
    if (p->room - p->used <= (size_t)length) {
        const size_t room = 2 * p->room + (size_t)length + 1024;
        char *data = realloc(p->data, room);
        p->no_memory = !data;
        if (!data) return;
        p->data = data;
        p->room = room;
    }
    va_start(arguments, format);
    p->no_memory = vsnprintf(p->data + p->used, p->room - p->used, format, arguments) != length;
    va_end(arguments);
    p->used += (size_t)length;
}

pn_status pn_page_finish(pn_page *p, const char *what, char **text, size_t *size) {
    const pn_page page = *p;
    *p = (pn_page){0};
    *text = NULL;
    *size = 0;
    if (page.no_memory || !page.data) {
        free(page.data);
        return pn_fail(PN_EMEM, "no memory for %s", what);
    }
    *text = page.data;
    *size = page.used;
    return PN_OK;
}
