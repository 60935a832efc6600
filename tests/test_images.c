/* test_images.c -- pictures drawn here, by libpng and libjpeg, and what becomes of them: one by
 * one, as a folder, packed, and in the program. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include "runtime/data.h"
#include "runtime/image.h"
#include "runtime/json.h"
#include "runtime/safetensors.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

/* ---- Drawing --------------------------------------------------------------------------------- */

typedef struct bytes {
    uint8_t at[1 << 17];
    size_t size;
} bytes;
static bytes file;

static void put(png_structp png, png_bytep from, size_t size) {
    bytes *to = png_get_io_ptr(png);
    assert_true(to->size + size <= sizeof to->at);
    memcpy(to->at + to->size, from, size);
    to->size += size;
}

static void flush(png_structp png) { (void)png; }

/* A picture and its file: sample (h,w,c) is any function of the three, below 2^depth. */
typedef struct drawing {
    const char *why;
    int H, W, type, depth;
    bool interlaced, key; /* key: the colour of pixel (0,0) is transparent */
    int seed;
} drawing;

static int channels_of(int type) {
    return type == PNG_COLOR_TYPE_RGB         ? 3
           : type == PNG_COLOR_TYPE_RGB_ALPHA ? 4
           : type == PNG_COLOR_TYPE_GA        ? 2
                                              : 1;
}

static unsigned sample(const drawing *d, int h, int w, int c) {
    const unsigned place = (unsigned)h * 7919U + (unsigned)w * 104729U + (unsigned)c * 1299709U;
    return (place + (unsigned)d->seed * 15485863U + 3) * 2654435761U >> 8 & ((1U << d->depth) - 1);
}

static png_color palette_at(unsigned i) {
    return (png_color){(png_byte)(i * 37), (png_byte)(i * 91 + 5), (png_byte)(255 - i * 13)};
}

enum { COLOURS = 16 };

static void draw_png(const drawing *d, const uint8_t *exif, size_t exif_size) {
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_color palette[COLOURS];
    png_byte alpha[COLOURS], *rows[64], block[64 * 64 * 8];
    file.size = 0;
    png_set_write_fn(png, &file, put, flush);
    png_set_IHDR(png, info, (png_uint_32)d->W, (png_uint_32)d->H, d->depth, d->type,
                 d->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    for (unsigned i = 0; i < COLOURS; i++)
        palette[i] = palette_at(i), alpha[i] = (png_byte)(i * 17);
    if (d->type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 1 << d->depth);
    png_color_16 key = {.gray = (png_uint_16)sample(d, 0, 0, 0),
                        .red = (png_uint_16)sample(d, 0, 0, 0),
                        .green = (png_uint_16)sample(d, 0, 0, 1),
                        .blue = (png_uint_16)sample(d, 0, 0, 2)};
    if (d->key) png_set_tRNS(png, info, alpha, COLOURS, &key);
    if (exif) png_set_eXIf_1(png, info, (png_uint_32)exif_size, (png_bytep)exif);
    png_write_info(png, info);
    png_set_packing(png);
    const int C = channels_of(d->type), wide = d->depth == 16 ? 2 : 1;
    for (int h = 0; h < d->H; h++) {
        rows[h] = block + (ptrdiff_t)h * d->W * C * wide;
        for (int w = 0; w < d->W; w++)
            for (int c = 0; c < C; c++) {
                const unsigned v = sample(d, h, w, c);
                png_byte *to = rows[h] + (w * C + c) * wide;
                if (wide == 2) *to++ = (png_byte)(v >> 8);
                *to = (png_byte)v;
            }
    }
    png_write_image(png, rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
}

/* What the head of image.h says of a pixel, in plain words. */
static int eight_bits(unsigned v, int depth) {
    return (int)(depth == 16 ? (v * 255U + 32895U) >> 16 : v * 255U / ((1U << depth) - 1));
}

static int expected(const drawing *d, int h, int w, int c) {
    int C = channels_of(d->type), alpha = 255, value = 0;
    bool keyed = d->key;
    for (int i = 0; i < C; i++) keyed = keyed && sample(d, h, w, i) == sample(d, 0, 0, i);
    if (keyed && C != 2 && C != 4) alpha = 0;
    if (d->type == PNG_COLOR_TYPE_PALETTE) {
        const unsigned i = sample(d, h, w, 0);
        const png_color p = palette_at(i);
        value = c == 0 ? p.red : c == 1 ? p.green : p.blue;
        alpha = d->key ? (int)i * 17 : 255;
    } else {
        value = eight_bits(sample(d, h, w, c), d->depth);
        if (C == 2 || C == 4) alpha = eight_bits(sample(d, h, w, C - 1), d->depth);
    }
    return (value * alpha + 128 * (255 - alpha) + 127) / 255;
}

static const drawing drawings[] = {
    {"colour", 5, 7, PNG_COLOR_TYPE_RGB, 8, false, false, 0},
    {"colour, interlaced", 9, 11, PNG_COLOR_TYPE_RGB, 8, true, false, 0},
    {"colour with alpha", 6, 5, PNG_COLOR_TYPE_RGB_ALPHA, 8, false, false, 0},
    {"alpha, interlaced, 16 bits", 9, 9, PNG_COLOR_TYPE_RGB_ALPHA, 16, true, false, 0},
    {"colour of 16 bits", 4, 6, PNG_COLOR_TYPE_RGB, 16, false, false, 0},
    {"a transparent colour", 4, 6, PNG_COLOR_TYPE_RGB, 8, false, true, 0},
    {"grey", 5, 3, PNG_COLOR_TYPE_GRAY, 8, false, false, 0},
    {"grey of 16 bits", 5, 3, PNG_COLOR_TYPE_GRAY, 16, false, false, 0},
    {"grey with alpha", 5, 3, PNG_COLOR_TYPE_GA, 8, false, false, 0},
    {"a transparent grey", 5, 3, PNG_COLOR_TYPE_GRAY, 4, false, true, 0},
    {"black and white, rows that end in a byte", 5, 13, PNG_COLOR_TYPE_GRAY, 1, false, false, 0},
    {"four greys, interlaced", 8, 9, PNG_COLOR_TYPE_GRAY, 2, true, false, 0},
    {"sixteen greys", 3, 5, PNG_COLOR_TYPE_GRAY, 4, false, false, 0},
    {"palette", 6, 6, PNG_COLOR_TYPE_PALETTE, 4, false, false, 0},
    {"palette with alpha, interlaced", 6, 7, PNG_COLOR_TYPE_PALETTE, 4, true, true, 0},
    {"one pixel", 1, 1, PNG_COLOR_TYPE_RGB, 8, false, false, 0},
};
enum { DRAWINGS = sizeof drawings / sizeof *drawings };

/* Blocks of 8 x 8 in one colour each, which JPEG keeps nearly exactly. */
typedef struct sheet {
    int H, W;
    J_COLOR_SPACE space;
    int levels; /* 0: baseline; else progressive, a scan for every coefficient and bit level */
    const uint8_t *exif;
    size_t exif_size;
} sheet;

static int block_colour(int h, int w, int c) {
    return 40 + (h / 8 * 67 + w / 8 * 31 + c * 53) % 180;
}

enum { MOST_SCANS = 1 + 3 * 63 * 3 };

static int make_script(jpeg_scan_info *script, int levels) {
    int n = 0;
    script[n++] = (jpeg_scan_info){.comps_in_scan = 3, .component_index = {0, 1, 2}};
    for (int c = 0; c < 3; c++)
        for (int k = 1; k < 64; k++)
            for (int level = levels - 1; level >= 0; level--)
                script[n++] = (jpeg_scan_info){.comps_in_scan = 1,
                                               .component_index = {c},
                                               .Ss = k,
                                               .Se = k,
                                               .Ah = level == levels - 1 ? 0 : level + 1,
                                               .Al = level};
    return n;
}

static void draw_jpeg(const sheet *s) {
    static jpeg_scan_info script[MOST_SCANS];
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr error;
    unsigned char *out = NULL;
    unsigned long size = 0;
    jpeg.err = jpeg_std_error(&error);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &out, &size);
    jpeg.image_height = (JDIMENSION)s->H;
    jpeg.image_width = (JDIMENSION)s->W;
    jpeg.input_components = s->space == JCS_GRAYSCALE ? 1 : s->space == JCS_CMYK ? 4 : 3;
    jpeg.in_color_space = s->space;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 100, TRUE);
    if (s->levels) {
        jpeg.num_scans = make_script(script, s->levels);
        jpeg.scan_info = script;
    }
    jpeg_start_compress(&jpeg, TRUE);
    if (s->exif) jpeg_write_marker(&jpeg, JPEG_APP0 + 1, s->exif, (unsigned)s->exif_size);
    for (int h = 0; h < s->H; h++) {
        uint8_t row[64 * 4], *at = row;
        for (int w = 0; w < s->W; w++)
            for (int c = 0; c < jpeg.input_components; c++) *at++ = (uint8_t)block_colour(h, w, c);
        at = row;
        jpeg_write_scanlines(&jpeg, &at, 1);
    }
    jpeg_finish_compress(&jpeg);
    assert_true(size <= sizeof file.at);
    memcpy(file.at, out, size);
    file.size = size;
    jpeg_destroy_compress(&jpeg);
    free(out);
}

/* ---- One picture ----------------------------------------------------------------------------- */

static void assert_sentence(const char *part) {
    if (!strstr(pn_error(), part)) fail_msg("'%s' does not contain '%s'", pn_error(), part);
}

static pn_image decode(void) {
    pn_image image;
    bool foreign;
    if (pn_image_decode(file.at, file.size, &image, &foreign) != PN_OK) fail_msg("%s", pn_error());
    return image;
}

static void assert_refused(const char *why, bool kind) {
    pn_image image = {.H = -1};
    bool foreign = !kind;
    assert_int_equal(pn_image_decode(file.at, file.size, &image, &foreign), PN_EINPUT);
    assert_sentence(why);
    assert_int_equal(foreign, kind);
    assert_null(image.pixels);
}

static void png_of_every_kind(void **state) {
    (void)state;
    for (int i = 0; i < DRAWINGS; i++) {
        const drawing *d = &drawings[i];
        draw_png(d, NULL, 0);
        pn_image image = decode();
        const bool grey = d->type == PNG_COLOR_TYPE_GRAY || d->type == PNG_COLOR_TYPE_GA;
        assert_int_equal(image.C, grey ? 1 : 3);
        assert_true(image.H == d->H && image.W == d->W);
        const uint8_t *at = image.pixels;
        for (int h = 0; h < d->H; h++)
            for (int w = 0; w < d->W; w++)
                for (int c = 0; c < image.C; c++, at++)
                    if (*at != expected(d, h, w, c))
                        fail_msg("%s: (%d,%d,%d) is %d, want %d", d->why, h, w, c, *at,
                                 expected(d, h, w, c));
        pn_image_free(&image);
    }
}

static void jpeg_in_colour_and_grey(void **state) {
    (void)state;
    /* 1 + 3 x 63 scans; and 1 + 2 x 3 x 63, which is below 500 too. */
    static const sheet sheets[] = {{16, 24, JCS_RGB, 0, NULL, 0},
                                   {16, 24, JCS_GRAYSCALE, 0, NULL, 0},
                                   {16, 24, JCS_RGB, 1, NULL, 0},
                                   {16, 16, JCS_RGB, 2, NULL, 0}};
    for (size_t i = 0; i < sizeof sheets / sizeof *sheets; i++) {
        const sheet *s = &sheets[i];
        draw_jpeg(s);
        pn_image image = decode();
        assert_int_equal(image.C, s->space == JCS_GRAYSCALE ? 1 : 3);
        assert_true(image.H == s->H && image.W == s->W);
        /* The chroma has half the resolution and is interpolated, so it is compared in the middle
         * of 16 x 16 alone: here, a grey in every pixel. */
        for (int h = 0; h < s->H && image.C == 1; h++)
            for (int w = 0; w < s->W; w++)
                assert_in_range(image.pixels[h * s->W + w], block_colour(h, w, 0) - 1,
                                block_colour(h, w, 0) + 1);
        pn_image_free(&image);
    }
}

/* An EXIF block with an orientation alone, in either order of bytes. */
static size_t make_exif(int orientation, bool big, uint8_t *block) {
    static const uint8_t little_endian[] = {'E', 'x', 'i', 'f', 0, 0,    'I', 'I', 42, 0, 8,
                                            0,   0,   0,   1,   0, 0x12, 1,   3,   0,  1, 0,
                                            0,   0,   0,   0,   0, 0,    0,   0,   0,  0},
                         big_endian[] = {'E', 'x', 'i', 'f', 0, 0, 'M',  'M', 0, 42, 0,
                                         0,   0,   8,   0,   1, 1, 0x12, 0,   3, 0,  0,
                                         0,   1,   0,   0,   0, 0, 0,    0,   0, 0};
    memcpy(block, big ? big_endian : little_endian, sizeof big_endian);
    block[big ? 25 : 24] = (uint8_t)orientation;
    return sizeof big_endian;
}

/* From EXIF 2.3: which side of the upright picture row 0 and column 0 of the stored one are. */
static void stored_at(int orientation, int H, int W, int y, int x, int *h, int *w) {
    switch (orientation) { /* H, W: stored; (y,x): upright */
        case 2:
            *h = y, *w = W - 1 - x;
            break; /* top, right */
        case 3:
            *h = H - 1 - y, *w = W - 1 - x;
            break; /* bottom, right */
        case 4:
            *h = H - 1 - y, *w = x;
            break; /* bottom, left */
        case 5:
            *h = x, *w = y;
            break; /* left, top */
        case 6:
            *h = H - 1 - x, *w = y;
            break; /* right, top */
        case 7:
            *h = H - 1 - x, *w = W - 1 - y;
            break; /* right, bottom */
        case 8:
            *h = x, *w = W - 1 - y;
            break; /* left, bottom */
        default:
            *h = y, *w = x; /* top, left; or no orientation */
    }
}

static void orientations(void **state) {
    (void)state;
    const drawing d = {"turned", 4, 7, PNG_COLOR_TYPE_RGB, 8, false, false, 0};
    uint8_t exif[32];
    for (int turn = 0; turn < 20; turn++) {
        const int orientation = turn / 2; /* 0 and 9 are none */
        const size_t size = make_exif(orientation, turn % 2, exif);
        const bool swapped = orientation >= 5 && orientation <= 8;
        draw_png(&d, exif + 6, size - 6);
        pn_image image = decode();
        assert_true(image.H == (swapped ? d.W : d.H) && image.W == (swapped ? d.H : d.W));
        for (int y = 0; y < image.H; y++)
            for (int x = 0; x < image.W; x++) {
                int h, w;
                stored_at(orientation, d.H, d.W, y, x, &h, &w);
                for (int c = 0; c < 3; c++)
                    assert_int_equal(image.pixels[(y * image.W + x) * 3 + c],
                                     expected(&d, h, w, c));
            }
        pn_image_free(&image);

        const sheet s = {16, 24, JCS_GRAYSCALE, 0, exif, size};
        draw_jpeg(&s);
        image = decode();
        assert_true(image.H == (swapped ? s.W : s.H) && image.W == (swapped ? s.H : s.W));
        for (int y = 0; y < image.H; y++)
            for (int x = 0; x < image.W; x++) {
                int h, w;
                stored_at(orientation, s.H, s.W, y, x, &h, &w);
                assert_in_range(image.pixels[y * image.W + x], block_colour(h, w, 0) - 1,
                                block_colour(h, w, 0) + 1);
            }
        pn_image_free(&image);
    }
    /* An EXIF block that is none. */
    memset(exif + 6, 0xff, sizeof exif - 6);
    draw_jpeg(&(sheet){16, 24, JCS_GRAYSCALE, 0, exif, sizeof exif});
    pn_image image = decode();
    assert_true(image.H == 16 && image.W == 24);
    pn_image_free(&image);
}

static void set_text(const char *text, size_t size) {
    memcpy(file.at, text, size);
    file.size = size;
}
#define SET_TEXT(text) set_text(text, sizeof(text) - 1)

static void what_is_not_read(void **state) {
    (void)state;
    SET_TEXT("");
    assert_refused("empty", false);
    SET_TEXT("GIF89a.......");
    assert_refused("GIF", true);
    SET_TEXT("RIFF....WEBPVP8 ");
    assert_refused("WebP", true);
    SET_TEXT("BM......");
    assert_refused("BMP", true);
    SET_TEXT("II*\0....");
    assert_refused("TIFF", true);
    SET_TEXT("....ftypheic");
    assert_refused("HEIF", true);
    SET_TEXT("<html>");
    assert_refused("neither JPEG nor PNG", true);
    draw_jpeg(&(sheet){16, 16, JCS_CMYK, 0, NULL, 0});
    assert_refused("CMYK", true);
    draw_jpeg(&(sheet){8, 8, JCS_RGB, 3, NULL, 0});
    assert_refused("more than 500 scans", false);
}

/* The height and width in a header that is otherwise right. */
static void too_large(void **state) {
    (void)state;
    static const uint32_t sizes[][2] = {{70000, 1}, {1, 70000}, {9000, 9000}, {65535, 65535}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        draw_png(&drawings[0], NULL, 0);
        for (int k = 0; k < 8; k++)
            file.at[16 + k] = (uint8_t)(sizes[i][k < 4] >> (24 - 8 * (k % 4))); /* width first */
        const uint32_t crc = (uint32_t)crc32(0, file.at + 12, 17);
        for (int k = 0; k < 4; k++) file.at[29 + k] = (uint8_t)(crc >> (24 - 8 * k));
        assert_refused("at most 64 Mpixel", false);
    }
    draw_jpeg(&(sheet){16, 16, JCS_RGB, 0, NULL, 0});
    for (size_t i = 0; i + 9 < file.size; i++)
        if (file.at[i] == 0xff && file.at[i + 1] == 0xc0) memset(file.at + i + 5, 0xf0, 4);
    assert_refused("at most 64 Mpixel", false);
}

/* A file that ends too soon, after any of its bytes; in JPEG the last two are the end marker. */
static void cut_off(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        if (kind == 0) draw_png(&drawings[1], NULL, 0);
        if (kind) draw_jpeg(&(sheet){16, 16, JCS_RGB, kind - 1, NULL, 0});
        static bytes whole;
        whole = file;
        const size_t step = kind == 2 ? 13 : 1; /* it is long */
        for (file.size = 0; file.size < whole.size; file.size += step) {
            pn_image image;
            assert_int_equal(pn_image_decode(file.at, file.size, &image, NULL), PN_EINPUT);
        }
    }
}

/* Every byte of a PNG is under a checksum, or says what the file is. */
static void any_changed_byte_of_a_png(void **state) {
    (void)state;
    draw_png(&drawings[14], NULL, 0);
    for (size_t i = 0; i < file.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            pn_image image;
            file.at[i] ^= (uint8_t)(1 << bit);
            assert_int_equal(pn_image_decode(file.at, file.size, &image, NULL), PN_EINPUT);
            file.at[i] ^= (uint8_t)(1 << bit);
        }
}

static void squares(void **state) {
    (void)state;
    /* 4 x 8 to 2: the mean of four each, and of these four the middle two columns. */
    uint8_t wide[4 * 8], out[3 * 3 * 3];
    for (int i = 0; i < 32; i++) wide[i] = (uint8_t)(i * 8);
    pn_image_fit(&(pn_image){wide, 4, 8, 1}, 2, 2, 1, out);
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
            const uint8_t *from = wide + y * 16 + 2 + x * 2;
            assert_int_equal(out[y * 2 + x], (from[0] + from[1] + from[8] + from[9] + 2) / 4);
        }
    /* 5 to 2: a centre on the border belongs to the first. */
    uint8_t five[25];
    for (int i = 0; i < 25; i++) five[i] = (uint8_t)(i * i % 251);
    pn_image_fit(&(pn_image){five, 5, 5, 1}, 2, 2, 1, out);
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
            int sum = 0, n = 0;
            for (int h = y * 3; h < 3 + y * 2; h++)
                for (int w = x * 3; w < 3 + x * 2; w++) sum += five[h * 5 + w], n++;
            assert_int_equal(out[y * 2 + x], (sum + n / 2) / n);
        }
    /* A pixel alone fills a square; grey becomes colour, and colour grey by the weights of ITU-R
     * 601: .299, .587, .114. */
    const uint8_t grey[] = {77};
    uint8_t red[] = {255, 0, 0};
    pn_image_fit(&(pn_image){(uint8_t *)grey, 1, 1, 1}, 3, 3, 3, out);
    for (int i = 0; i < 27; i++) assert_int_equal(out[i], 77);
    pn_image_fit(&(pn_image){red, 1, 1, 3}, 1, 1, 1, out);
    assert_int_equal(out[0], 76);
    /* A rectangle takes what covers it: of 4 x 8 half of the columns. */
    pn_image_fit(&(pn_image){wide, 4, 8, 1}, 4, 4, 1, out);
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 4; x++) assert_int_equal(out[y * 4 + x], wide[y * 8 + x + 2]);
}

/* ---- A folder -------------------------------------------------------------------------------- */

static void make_directory(const char *name) {
    if (mkdir(pn_in_folder(name), 0777) != 0) assert_true(access(pn_in_folder(name), F_OK) == 0);
}

static void write_file(const char *name) {
    FILE *out = fopen(pn_in_folder(name), "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file.at, 1, file.size, out), file.size);
    assert_int_equal(fclose(out), 0);
}

/* Picture `i` of a class; sizes differ. */
static void add_picture(const char *directory, int class, int i, bool grey) {
    char name[128];
    const drawing d = {
        "",    9 + i % 3, 9 + (class + i) % 4, grey ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, 8,
        false, false,     1000 * class + i};
    draw_png(&d, NULL, 0);
    snprintf(name, sizeof name, "%s/class%03d", directory, class);
    make_directory(name);
    snprintf(name, sizeof name, "%s/class%03d/%03d.png", directory, class, i);
    write_file(name);
}

static void make_set(const char *directory, int classes, int of_each, bool grey) {
    make_directory(directory);
    for (int k = 0; k < classes; k++)
        for (int i = 0; i < of_each; i++) add_picture(directory, k, i, grey);
}

static char said[4096];
static void hear(void *self, const char *sentence) {
    (void)self;
    const size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s\n", sentence);
}

static void assert_said(const char *part) {
    if (!strstr(said, part)) fail_msg("'%s' was not said, but '%s'", part, said);
}

static int clear_folder(void **state) {
    (void)state;
    pn_folder_remove(pn_folder);
    said[0] = 0;
    pn_data_listen(hear, NULL);
    return mkdir(pn_folder, 0777);
}

static void open_both(const char *spec, pn_data *train, pn_data *test) {
    if (pn_data_open_both(spec, train, test) != PN_OK) fail_msg("%s", pn_error());
}

/* Whether two sets are equal to the byte. */
static void assert_same(const pn_data *a, const pn_data *b) {
    assert_true(a->count == b->count && a->H == b->H && a->W == b->W && a->C == b->C);
    assert_memory_equal(a->images, b->images, (size_t)a->count * a->H * a->W * a->C);
    assert_memory_equal(a->labels, b->labels, (size_t)a->count * sizeof *a->labels);
    assert_memory_equal(a->mean, b->mean, sizeof a->mean);
    assert_memory_equal(a->std, b->std, sizeof a->std);
    assert_int_equal(a->own_test, b->own_test);
    assert_int_equal(a->classes, b->classes);
    for (int k = 0; k < a->classes; k++) assert_string_equal(a->class_names[k], b->class_names[k]);
    assert_int_equal(pn_data_checksum(a), pn_data_checksum(b));
}

static void a_folder_without_a_split(void **state) {
    (void)state;
    pn_data train, test, alone;
    char spec[320];
    make_set("set", 3, 40, false);
    make_directory("set/.hidden");
    make_directory("set/__MACOSX");
    SET_TEXT("seen by nobody");
    write_file("set/class000/._000.png");
    write_file("set/class001/Thumbs.db");
    write_file("set/readme.txt");
    snprintf(spec, sizeof spec, "%s@8", pn_in_folder("set"));
    open_both(spec, &train, &test);
    assert_string_equal(said, "");
    assert_int_equal(train.count + test.count, 120);
    /* 120 draws of 1/5: 24, with a deviation of 4.4; the hash is always the same. */
    assert_in_range(test.count, 10, 40);
    assert_true(!train.own_test && train.H == 8 && train.W == 8 && train.C == 3);
    assert_int_equal(train.classes, 3);
    assert_string_equal(train.class_names[2], "class002");
    for (int i = 1; i < train.count; i++) assert_true(train.labels[i - 1] <= train.labels[i]);

    /* The picture of class 0 that comes first, and is for training. */
    for (int i = 0, found = 0; i < 40 && !found; i++) {
        const drawing d = {"", 9 + i % 3, 9 + i % 4, PNG_COLOR_TYPE_RGB, 8, false, false, i};
        uint8_t want[8 * 8 * 3];
        draw_png(&d, NULL, 0);
        pn_image image = decode();
        pn_image_fit(&image, 8, 8, 3, want);
        pn_image_free(&image);
        found = !memcmp(train.images, want, sizeof want);
        assert_true(found || i < 10);
    }
    /* A split alone is the same, and so is the folder by another name. */
    assert_int_equal(pn_data_open(spec, PN_TEST, &alone), PN_OK);
    assert_same(&alone, &test);
    pn_data_free(&alone);
    assert_int_equal(rename(pn_in_folder("set"), pn_in_folder("other")), 0);
    snprintf(spec, sizeof spec, "%s@8", pn_in_folder("other"));
    assert_int_equal(pn_data_open(spec, PN_TRAIN, &alone), PN_OK);
    assert_same(&alone, &train);
    pn_data_free(&alone);
    pn_data_free(&train);
    pn_data_free(&test);
}

static void a_folder_with_a_split(void **state) {
    (void)state;
    static const char *const tests[] = {"set/valid", "set/val",
                                        "set/test"}; /* the later is taken */
    pn_data train, test;
    make_directory("set");
    make_set("set/train", 2, 12, true);
    for (int i = 0; i < 3; i++) {
        make_set(tests[i], 2, 4 + i, true);
        open_both(pn_in_folder("set"), &train, &test);
        assert_true(train.own_test && train.count == 24 && test.count == 2 * (4 + i));
        assert_true(train.C == 1 && train.H == 32); /* grey, and small pictures */
        assert_memory_equal(test.mean, train.mean, sizeof test.mean);
        pn_data_free(&train);
        pn_data_free(&test);
    }
    assert_said("become 32x32");
    assert_said("test images have the bytes of a training image");
    /* A picture in colour, and all are. */
    add_picture("set/train", 0, 12, false);
    open_both(pn_in_folder("set"), &train, &test);
    assert_true(train.C == 3 && test.C == 3 && train.count == 25);
    pn_data_free(&train);
    pn_data_free(&test);
}

static void what_is_left_out_is_named(void **state) {
    (void)state;
    pn_data train, test;
    make_set("set", 2, 60, true);
    for (int i = 60; i < 200; i++) add_picture("set", 1, i, true);
    draw_png(&drawings[6], NULL, 0);
    write_file("set/class000/misnamed.JPG"); /* read as what it is */
    write_file("set/class000/no_ending");
    file.size /= 2;
    write_file("set/class000/half.png");
    SET_TEXT("GIF89a");
    write_file("set/class000/moving.gif");
    file.size = 0;
    write_file("set/class001/nothing.txt");
    make_directory("set/class001/below");
    open_both(pn_in_folder("set"), &train, &test);
    assert_int_equal(train.count + test.count, 262);
    assert_said("half.png: left out: damaged PNG");
    assert_said("moving.gif: left out: GIF");
    assert_said("nothing.txt: left out: empty");
    assert_said("below: left out: a directory");
    pn_data_free(&train);
    pn_data_free(&test);

    /* Two of 265 are fewer than 1 %, three are more. */
    write_file("set/class001/empty.jpeg");
    assert_int_equal(pn_data_open(pn_in_folder("set"), PN_TRAIN, &train), PN_OK);
    pn_data_free(&train);
    assert_int_equal(symlink("nowhere", pn_in_folder("set/class001/link.png")), 0);
    assert_int_equal(pn_data_open(pn_in_folder("set"), PN_TRAIN, &train), PN_EINPUT);
    assert_sentence("3 of 265 pictures are damaged, want at most 1 %");
}

static void classes_of_few_images(void **state) {
    (void)state;
    pn_data data;
    make_set("set", 2, 5, true);
    for (int i = 5; i < 120; i++) add_picture("set", 1, i, true);
    assert_int_equal(pn_data_open(pn_in_folder("set"), PN_TRAIN, &data), PN_OK);
    assert_said("1 of 2 classes have fewer than 10 training images, class000");
    assert_said("unequal classes:");
    pn_data_free(&data);
}

static void refuse(const char *spec, pn_status status, const char *why) {
    pn_data data = {.count = -1};
    assert_int_equal(pn_data_open(spec, PN_TRAIN, &data), status);
    assert_sentence(why);
    assert_int_equal(data.count, -1);
}

static void folders_that_are_refused(void **state) {
    (void)state;
    char spec[320];
    make_directory("set");
    refuse(pn_in_folder("set"), PN_EINPUT, "nor a folder of pictures for each class");
    snprintf(spec, sizeof spec, "%s@32", pn_in_folder("set"));
    refuse(spec, PN_EINPUT, "holds no class");
    make_set("set", 1, 2, false);
    refuse(pn_in_folder("set"), PN_EINPUT, "one class, class000, want at least two");
    make_directory("set/class001");
    refuse(pn_in_folder("set"), PN_EINPUT, "class001: an empty class");
    snprintf(spec, sizeof spec, "%s@7", pn_in_folder("set"));
    refuse(spec, PN_EARG, "want edges from 8 to 4096");
    snprintf(spec, sizeof spec, "%s@8", pn_in_folder("nowhere"));
    refuse(spec, PN_EINPUT, "is not there");
    make_directory("set/class\xff");
    refuse(pn_in_folder("set"), PN_EINPUT, "is not UTF-8");

    make_directory("split");
    make_set("split/train", 3, 2, false);
    make_set("split/test", 2, 2, false);
    refuse(pn_in_folder("split"), PN_EINPUT, "class class002 is in");
    add_picture("split/test", 2, 0, false);
    add_picture("split/test", 3, 0, false);
    refuse(pn_in_folder("split"), PN_EINPUT, "class class003 is in");

    /* Of two pictures none is for testing: by the hash, so always. */
    make_set("few", 2, 1, false);
    pn_data data = {0};
    const pn_status s = pn_data_open(pn_in_folder("few"), PN_TRAIN, &data);
    pn_data_free(&data);
    if (s != PN_OK) assert_sentence("no picture for");
    if (geteuid() != 0) {
        assert_int_equal(chmod(pn_in_folder("few/class000"), 0), 0);
        refuse(pn_in_folder("few"), PN_EIO, "cannot");
        assert_int_equal(chmod(pn_in_folder("few/class000"), 0777), 0);
    }
}

/* ---- Packed ---------------------------------------------------------------------------------- */

static void packed_and_opened_again(void **state) {
    (void)state;
    /* 300 classes take more than a byte. */
    for (int many = 0; many < 2; many++) {
        pn_data train, test, again[2];
        char spec[320], path[320];
        make_set(many ? "many" : "set", many ? 300 : 3, many ? 4 : 20, many);
        snprintf(spec, sizeof spec, "%s@9", pn_in_folder(many ? "many" : "set"));
        snprintf(path, sizeof path, "%s", pn_in_folder("set.safetensors"));
        open_both(spec, &train, &test);
        assert_int_equal(pn_data_pack(path, &train, &test), PN_OK);
        open_both(path, &again[0], &again[1]);
        assert_non_null(again[0].mapped);
        assert_same(&again[0], &train);
        assert_same(&again[1], &test);
        assert_int_equal(train.labels[train.count - 1], many ? 299 : 2);
        for (int i = 0; i < 2; i++) pn_data_free(&again[i]);

        /* Half of them, which is made in the private mapping: the file stays. */
        snprintf(spec, sizeof spec, "%s@8", pn_in_folder(many ? "many" : "set"));
        pn_data_free(&train);
        pn_data_free(&test);
        open_both(spec, &train, &test);
        assert_int_equal(pn_data_pack(path, &train, &test), PN_OK);
        snprintf(spec, sizeof spec, "%.300s/2", path);
        open_both(spec, &again[0], &again[1]);
        assert_true(again[0].H == 4 && again[0].W == 4);
        for (int i = 0; i < 2; i++) pn_data_free(&again[i]);
        open_both(path, &again[0], &again[1]);
        assert_same(&again[0], &train);
        for (int i = 0; i < 2; i++) pn_data_free(&again[i]);
        pn_data_free(&train);
        pn_data_free(&test);
    }
}

/* A packed file of four images of 8 x 8, with one thing other than it should be. */
typedef struct wrong {
    const char *why, *key, *text; /* a key of the metadata */
    int H, C, labels;
    uint16_t label;
    bool no_images;
} wrong;

static void write_wrong(const char *path, const wrong *w) {
    static uint8_t pixels[4 * 8 * 8 * 3];
    const uint16_t labels[] = {0, 1, w->label, 1};
    const pn_array arrays[] = {{"train.images", PN_U8, 4, {4, w->H, 8, w->C}, pixels},
                               {"test.images", PN_U8, 4, {4, 8, 8, 3}, pixels},
                               {"train.labels", PN_U16, 1, {w->labels}, labels},
                               {w->no_images ? "other" : "test.labels", PN_U16, 1, {4}, labels}};
    pn_meta metas[] = {{"format", "parsec-nas images 1"},
                       {"classes", "[\"a\",\"b\"]"},
                       {"mean", "[0.5,0.5,0.5]"},
                       {"std", "[0.2,0.2,0.2]"},
                       {"name", "set"},
                       {"own_test", "true"}};
    int count = sizeof metas / sizeof *metas;
    for (int i = 0; i < count; i++)
        if (w->key && !strcmp(metas[i].key, w->key)) {
            metas[i].text = w->text;
            if (!w->text) metas[i] = metas[--count];
        }
    assert_int_equal(
        pn_safetensors_write(path, arrays + w->no_images, 4 - w->no_images, metas, count), PN_OK);
}

static void packed_files_that_are_refused(void **state) {
    (void)state;
    static const wrong cases[] = {
        {"", NULL, NULL, 8, 3, 4, 1, false},
        {"label 2 of image 2, want 0 to 1", NULL, NULL, 8, 3, 4, 2, false},
        {"not a set that 'parsec-nas data pack'", "format", "other", 8, 3, 4, 1, false},
        {"not a set that 'parsec-nas data pack'", "format", NULL, 8, 3, 4, 1, false},
        {"no classes in its metadata", "classes", NULL, 8, 3, 4, 1, false},
        {"1 classes, want 2 to", "classes", "[\"a\"]", 8, 3, 4, 1, false},
        {"is no list", "classes", "{}", 8, 3, 4, 1, false},
        {"the name of class 1 is no text", "classes", "[\"a\",3]", 8, 3, 4, 1, false},
        {"mean in its metadata, want 3 numbers", "mean", "[0.5]", 8, 3, 4, 1, false},
        {"std in its metadata, want 3 numbers", "std", "[0.5,0,0.5]", 8, 3, 4, 1, false},
        {"line 1", "mean", "[0.5", 8, 3, 4, 1, false},
        {"want images of 1 or 3 channels", NULL, NULL, 8, 2, 4, 1, false},
        {"want images of 1 or 3 channels", NULL, NULL, 0, 3, 4, 1, false},
        {"train.labels is U16 (3), want U16 (4)", NULL, NULL, 8, 3, 3, 1, false},
        {"no array train.images", NULL, NULL, 8, 3, 4, 1, true},
    };
    char path[320];
    snprintf(path, sizeof path, "%s", pn_in_folder("set.safetensors"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_wrong(path, &cases[i]);
        if (i) refuse(path, PN_EINPUT, cases[i].why);
    }
    /* And any bit of the file, cut or not. */
    write_wrong(path, &cases[0]);
    pn_data data;
    assert_int_equal(pn_data_open(path, PN_TRAIN, &data), PN_OK);
    pn_data_free(&data);
    FILE *in = fopen(path, "rb");
    file.size = fread(file.at, 1, sizeof file.at, in);
    fclose(in);
    for (size_t i = 0; i < file.size; i += 11) {
        file.at[i] ^= 4;
        write_file("set.safetensors");
        assert_int_equal(pn_data_open(path, PN_TRAIN, &data), PN_EINPUT);
        file.at[i] ^= 4;
    }
    const size_t whole = file.size;
    for (file.size = 0; file.size < whole; file.size += 29) {
        write_file("set.safetensors");
        assert_int_equal(pn_data_open(path, PN_TRAIN, &data), PN_EINPUT);
    }
}

/* ---- The program ----------------------------------------------------------------------------- */

#define RUN(process, where, ...) \
    pn_process_run(process, (const char *const[]){PN_PROGRAM, __VA_ARGS__, NULL}, where, 120)

static void expect(const pn_process *p, int code, const char *out, const char *err) {
    if (p->code != code || !strstr(p->out, out) || !strstr(p->err, err))
        fail_msg("exit code %d, out '%s', err '%s'", p->code, p->out, p->err);
}

static void the_commands(void **state) {
    (void)state;
    pn_process p;
    const pn_conditions here = {.folder = pn_folder};
    make_set("set", 3, 30, true);
    RUN(&p, &here, "data", "info", "set@16", "--json");
    expect(&p, 0, "", "");
    json_t *root = json_loads(p.out, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(root, "classes")), 3);
    assert_int_equal(json_integer_value(json_object_get(root, "channels")), 1);
    assert_int_equal(json_integer_value(json_object_get(root, "train")) +
                         json_integer_value(json_object_get(root, "test")),
                     90);
    json_decref(root);
    pn_process_free(&p);
    RUN(&p, &here, "data", "check", "set");
    expect(&p, 0, "90 files: 90 pictures in 3 classes, 0 damaged, 0 skipped", "");
    pn_process_free(&p);
    SET_TEXT("GIF89a");
    write_file("set/class000/moving.gif");
    RUN(&p, &here, "data", "check", "set");
    expect(&p, PN_EINPUT, "moving.gif: GIF", "1 of 91 files cannot be used");
    pn_process_free(&p);
    RUN(&p, &here, "data", "check", "set", "--json");
    expect(&p, PN_EINPUT, "\"skipped\": 1", "");
    pn_process_free(&p);
    RUN(&p, &here, "data", "pack", "set");
    expect(&p, PN_EARG, "", "want --out FILE.safetensors");
    pn_process_free(&p);
    RUN(&p, &here, "data", "look", "set");
    expect(&p, PN_EARG, "", "want info, check, pack or records");
    pn_process_free(&p);

    /* A disk that is full leaves nothing. */
    const pn_conditions full = {.folder = pn_folder, .file_size = 8192};
    RUN(&p, &full, "data", "pack", "set", "--out", "set.safetensors");
    expect(&p, PN_EIO, "", "set.safetensors");
    assert_int_equal(access(pn_in_folder("set.safetensors"), F_OK), -1);
    pn_process_free(&p);
    RUN(&p, &here, "data", "pack", "set@18", "--out", "set.safetensors", "--test-fraction", "0.4");
    expect(&p, 0, "", "(not its own) of 18x18x1 in 3 classes");
    pn_process_free(&p);

    /* Three classes of 18 x 18, grey: a search, continued; a training with the auxiliary head. */
#define SMALL "--data", "set.safetensors", "--batch", "4", "--channels", "4", "--quiet"
    RUN(&p, &here, "search", "run", SMALL, "--layers", "3", "--steps", "3", "--warmup", "1");
    expect(&p, 0, "Genotype(", "");
    pn_process_free(&p);
    RUN(&p, &here, "train", "training", SMALL, "--genotype", "run", "--layers", "3", "--epochs",
        "1");
    expect(&p, 0, "", "");
    pn_process_free(&p);
    RUN(&p, &here, "eval", "training/seed-1", "--data", "set.safetensors");
    expect(&p, 0, "set", "");
    pn_process_free(&p);
    /* The weights say which size a folder becomes. */
    RUN(&p, &here, "eval", "training/seed-1", "--data", "set");
    expect(&p, 0, "set", "");
    assert_null(strstr(p.err, "another size"));
    pn_process_free(&p);
    RUN(&p, &here, "eval", "training/seed-1", "--data", "set@17");
    expect(&p, PN_EARG, "", "images of 18x18x1, those of set@17 are 17x17x1");
    pn_process_free(&p);
    RUN(&p, &here, "export", "training", "--c", "code", "--int8", "--calibrate", "set");
    expect(&p, 0, "", "accuracy on ");
    pn_process_free(&p);
    RUN(&p, &here, "compare", "--data", "set@13", "--random", "1", "--layers", "2", "--channels",
        "4", "--batch", "4", "--steps", "2");
    expect(&p, 0, "", "moving.gif: left out");
    pn_process_free(&p);
}

/* A row of a picture is an image of CIFAR-10: label, then planes. */
static void rows_become_records(void **state) {
    (void)state;
    enum { ROWS = 3, PIXELS = 1024, RECORD = 1 + 3 * PIXELS };
    static const struct {
        const char *why, *labels, *picture, *first;
        int code;
    } cases[] = {
        {"", "[9,9,4,0,7]", "colour.png", "2", 0},
        {"a list of 4 labels, want 3 from number 2 on", "[9,9,4,0]", "colour.png", "2", PN_EINPUT},
        {"label 3 is not a whole number from 0 to 9", "[9,9,4,10,7]", "colour.png", "2", PN_EINPUT},
        {"label 3 is not a whole number from 0 to 9", "[9,9,4,0.5,7]", "colour.png", "2",
         PN_EINPUT},
        {"labels.json: line 1", "[9,9", "colour.png", "2", PN_EINPUT},
        {"a list of 0 labels", "{}", "colour.png", "0", PN_EINPUT},
        {"grey, want 1024 in colour", "[9,9,4,0,7]", "grey.png", "2", PN_EINPUT},
        {"32 pixels wide", "[9,9,4,0,7]", "narrow.png", "2", PN_EINPUT},
        {"neither JPEG nor PNG", "[9,9,4,0,7]", "labels.json", "2", PN_EINPUT},
        {"none.png", "[9,9,4,0,7]", "none.png", "2", PN_EIO},
    };
    const drawing narrow = {"", ROWS, 32, PNG_COLOR_TYPE_RGB, 8, false, false, 1},
                  grey = {"", ROWS, PIXELS, PNG_COLOR_TYPE_GRAY, 8, false, false, 1},
                  colour = {"", ROWS, PIXELS, PNG_COLOR_TYPE_RGB, 8, false, false, 1};
    const pn_conditions here = {.folder = pn_folder};
    pn_process p;
    draw_png(&narrow, NULL, 0);
    write_file("narrow.png");
    draw_png(&grey, NULL, 0);
    write_file("grey.png");
    draw_png(&colour, NULL, 0);
    write_file("colour.png");
    for (size_t i = sizeof cases / sizeof *cases; i-- > 0;) { /* the good one last */
        file.size = strlen(cases[i].labels);
        memcpy(file.at, cases[i].labels, file.size);
        write_file("labels.json");
        RUN(&p, &here, "data", "records", cases[i].picture, "--labels", "labels.json", "--first",
            cases[i].first, "--out", "out.bin");
        expect(&p, cases[i].code, "", cases[i].why);
        assert_int_equal(access(pn_in_folder("out.bin"), F_OK), i ? -1 : 0);
        pn_process_free(&p);
    }
    RUN(&p, &here, "data", "records", "colour.png", "--out", "other.bin");
    expect(&p, PN_EARG, "", "want --labels FILE.json");
    pn_process_free(&p);
    FILE *in = fopen(pn_in_folder("out.bin"), "rb");
    assert_int_equal(fread(file.at, 1, sizeof file.at, in), ROWS * RECORD);
    fclose(in);
    for (int h = 0; h < ROWS; h++) {
        assert_int_equal(file.at[h * RECORD], "\4\0\7"[h]);
        for (int i = 0; i < 3 * PIXELS; i++)
            assert_int_equal(file.at[h * RECORD + 1 + i],
                             sample(&colour, h, i % PIXELS, i / PIXELS));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_of_every_kind),
        cmocka_unit_test(jpeg_in_colour_and_grey),
        cmocka_unit_test(orientations),
        cmocka_unit_test(what_is_not_read),
        cmocka_unit_test(too_large),
        cmocka_unit_test(cut_off),
        cmocka_unit_test(any_changed_byte_of_a_png),
        cmocka_unit_test(squares),
        cmocka_unit_test_setup(a_folder_without_a_split, clear_folder),
        cmocka_unit_test_setup(a_folder_with_a_split, clear_folder),
        cmocka_unit_test_setup(what_is_left_out_is_named, clear_folder),
        cmocka_unit_test_setup(classes_of_few_images, clear_folder),
        cmocka_unit_test_setup(folders_that_are_refused, clear_folder),
        cmocka_unit_test_setup(packed_and_opened_again, clear_folder),
        cmocka_unit_test_setup(packed_files_that_are_refused, clear_folder),
        cmocka_unit_test_setup(the_commands, clear_folder),
        cmocka_unit_test_setup(rows_become_records, clear_folder),
    };
    return cmocka_run_group_tests(tests, pn_folder_begin, pn_folder_end);
}
