/* image_jpeg.c -- JPEG by libjpeg-turbo, whose warnings are errors here. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "runtime/image_parts.h"

enum { EXIF_MARKER = JPEG_APP0 + 1, EXIF_PREFIX = 6 };

typedef struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr error;
    struct jpeg_progress_mgr progress;
    jmp_buf failed;
    pn_status status;
} decoder;

static void fail(j_common_ptr common) {
    decoder *d = common->client_data;
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    d->status = common->err->msg_code == JERR_OUT_OF_MEMORY
                    ? pn_fail(PN_EMEM, "no memory to decode it")
                    : pn_fail(PN_EINPUT, "damaged JPEG: %s", text);
    longjmp(d->failed, 1);
}

static void message(j_common_ptr common, int level) {
    if (level < 0) fail(common);
}

static void count_scans(j_common_ptr common) {
    decoder *d = common->client_data;
    if (d->jpeg.input_scan_number <= PN_MAX_PICTURE_SCANS) return;
    d->status = pn_fail(PN_EINPUT, "more than %d scans", PN_MAX_PICTURE_SCANS);
    longjmp(d->failed, 1);
}

static pn_status read_orientation(const decoder *d, int *orientation) {
    for (jpeg_saved_marker_ptr m = d->jpeg.marker_list; m; m = m->next)
        if (m->data_length > EXIF_PREFIX && !memcmp(m->data, "Exif\0", EXIF_PREFIX))
            return pn_exif_orientation(m->data, m->data_length, orientation);
    return PN_OK;
}

static pn_status header(decoder *d, pn_image *image, int *orientation, bool *foreign) {
    jpeg_read_header(&d->jpeg, TRUE);
    const J_COLOR_SPACE space = d->jpeg.jpeg_color_space;
    PN_TRY(pn_image_check_size(d->jpeg.image_height, d->jpeg.image_width));
    if (space != JCS_GRAYSCALE && space != JCS_YCbCr && space != JCS_RGB) {
        *foreign = true;
        return pn_fail(PN_EINPUT, "%s, want colours in RGB or grey",
                       space == JCS_CMYK || space == JCS_YCCK ? "CMYK" : "an unknown colour space");
    }
    image->H = (int)d->jpeg.image_height;
    image->W = (int)d->jpeg.image_width;
    image->C = space == JCS_GRAYSCALE ? 1 : 3;
    return read_orientation(d, orientation);
}

static pn_status pixels(decoder *d, pn_image *image) {
    PN_TRY(pn_image_allocate(image));
    d->jpeg.out_color_space = image->C == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&d->jpeg);
    const size_t row = (size_t)image->W * (size_t)image->C;
    while (d->jpeg.output_scanline < d->jpeg.output_height) {
        JSAMPROW at = image->pixels + d->jpeg.output_scanline * row;
        jpeg_read_scanlines(&d->jpeg, &at, 1);
    }
    jpeg_finish_decompress(&d->jpeg);
    return PN_OK;
}

pn_status pn_jpeg_decode(const uint8_t *bytes, size_t size, bool look, pn_image *image,
                         int *orientation, bool *foreign) {
    decoder d = {.status = PN_OK};
    d.jpeg.err = jpeg_std_error(&d.error);
    d.error.error_exit = fail;
    d.error.emit_message = message;
    d.jpeg.client_data = &d;
    if (setjmp(d.failed) == 0) {
        jpeg_create_decompress(&d.jpeg);
        d.progress.progress_monitor = count_scans;
        d.jpeg.progress = &d.progress;
        jpeg_save_markers(&d.jpeg, EXIF_MARKER, 0xFFFF);
        jpeg_mem_src(&d.jpeg, bytes, size);
        pn_status s = header(&d, image, orientation, foreign);
        if (s == PN_OK && !look) s = pixels(&d, image);
        d.status = s;
    }
    jpeg_destroy_decompress(&d.jpeg);
    return d.status;
}
