/* batches.c -- one thread that stays a step ahead of whoever takes the batches.
 *
 * A stream remembers the step it was last asked for. The thread first makes what somebody waits
 * for, then the steps after those; if all is made it sleeps. A buffer is written only while it is
 * neither handed out nor marked with a step, so nothing is copied under the lock. */
#include "runtime/batches.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"

enum { BUFFERS = 2, NONE = -1, ALIGN = 64 };

typedef struct buffer {
    int64_t step; /* NONE: nothing of use in it */
    float *x;
    int32_t *labels;
} buffer;

typedef struct stream {
    pn_batch_stream want;
    uint32_t *image; /* of the half: which of the data set's */
    int images;
    int64_t steps; /* of an epoch */
    buffer buffers[BUFFERS];
    int held;      /* the buffer handed out, or NONE */
    int64_t asked; /* the step asked for last, or NONE */
} stream;

struct pn_batches {
    const pn_data *data;
    uint64_t seed;
    float value[PN_MAX_IMAGE_CHANNELS][PN_PIXEL_LEVELS]; /* what a byte is normalised to */
    stream streams[PN_MAX_BATCH_STREAMS];
    int count;

    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* guards buffers[].step, held, asked, stop */
    pthread_cond_t asked, made;
    bool stop;
};

/* ---- Making a batch -------------------------------------------------------------------------- */

/* One image, as torchvision does it: pad with black, crop, flip, normalise. */
static void copy_image(const pn_batches *b, const uint8_t *image, int dy, int dx, bool flip,
                       float *x) {
    const int H = b->data->H, W = b->data->W, C = b->data->C;
    for (int h = 0; h < H; h++)
        for (int w = 0; w < W; w++) {
            const int from_h = h + dy, from_w = (flip ? W - 1 - w : w) + dx;
            const bool inside = from_h >= 0 && from_h < H && from_w >= 0 && from_w < W;
            const uint8_t *pixel = image + ((ptrdiff_t)from_h * W + from_w) * C;
            for (int c = 0; c < C; c++) *x++ = b->value[c][inside ? pixel[c] : 0];
        }
}

void pn_cut_out(int H, int W, int C, int edge, int centre_h, int centre_w, float *x) {
    const int top = centre_h - edge / 2, left = centre_w - edge / 2;
    for (int h = top < 0 ? 0 : top; h < top + edge && h < H; h++)
        for (int w = left < 0 ? 0 : left; w < left + edge && w < W; w++)
            memset(x + ((ptrdiff_t)h * W + w) * C, 0, (size_t)C * sizeof *x);
}

/* A whole number in 0..n-1 from 32 random bits. */
static int below(uint32_t random, int n) { return (int)((uint64_t)random * (uint32_t)n >> 32); }

static int batch_size(const stream *s, int64_t step) {
    const int64_t left = s->images - step * s->want.N;
    return s->want.in_order && left < s->want.N ? (int)left : s->want.N;
}

static uint32_t which_image(const pn_batches *b, const stream *s, int64_t step, int i) {
    if (s->want.in_order) return s->image[step * s->want.N + i];
    const pn_stream_id order =
        s->want.half == PN_HALF_SECOND ? PN_STREAM_SHUFFLE2 : PN_STREAM_SHUFFLE;
    const uint32_t at = (uint32_t)(step % s->steps * s->want.N + i);
    return s
        ->image[pn_permute(b->seed, order, (uint64_t)(step / s->steps), (uint32_t)s->images, at)];
}

static void make_batch(const pn_batches *b, const stream *s, int64_t step, float *x,
                       int32_t *labels) {
    const pn_data *data = b->data;
    const size_t size = (size_t)data->H * (size_t)data->W * (size_t)data->C;
    const int n = batch_size(s, step);
    for (int i = 0; i < n; i++, x += size) {
        const uint32_t image = which_image(b, s, step, i);
        labels[i] = data->labels[image];

        const uint64_t index = (uint64_t)s->want.half << 40 | (uint64_t)i << 1;
        int dy = 0, dx = 0;
        bool flip = false;
        if (s->want.augment) {
            const pn_random4 r = pn_random(b->seed, PN_STREAM_AUGMENT, (uint64_t)step, index);
            dy = below(r.v[0], 2 * PN_CROP_PADDING + 1) - PN_CROP_PADDING;
            dx = below(r.v[1], 2 * PN_CROP_PADDING + 1) - PN_CROP_PADDING;
            flip = below(r.v[2], 2) == 1;
        }
        copy_image(b, data->images + image * size, dy, dx, flip, x);
        if (s->want.cutout > 0) {
            const pn_random4 r = pn_random(b->seed, PN_STREAM_AUGMENT, (uint64_t)step, index | 1);
            pn_cut_out(data->H, data->W, data->C, s->want.cutout, below(r.v[0], data->H),
                       below(r.v[1], data->W), x);
        }
    }
}

/* ---- The thread ------------------------------------------------------------------------------ */

static int buffer_of(const stream *s, int64_t step) {
    for (int i = 0; i < BUFFERS; i++)
        if (s->buffers[i].step == step) return i;
    return NONE;
}

static bool valid_step(const stream *s, int64_t step) {
    return step >= 0 && step < (s->want.in_order ? s->steps : INT64_MAX);
}

/* A stream that lacks a step: the one asked for (ahead 0), or the one after it (ahead 1). */
static stream *find_work(pn_batches *b, int64_t *step) {
    for (int ahead = 0; ahead < BUFFERS; ahead++)
        for (int i = 0; i < b->count; i++) {
            stream *s = &b->streams[i];
            if (s->asked == NONE || !valid_step(s, s->asked + ahead)) continue;
            *step = s->asked + ahead;
            if (buffer_of(s, *step) == NONE) return s;
        }
    return NULL;
}

/* The buffer to write: not the one handed out, nor the one that is about to be. */
static buffer *free_buffer(stream *s) {
    const int busy = s->held != NONE ? s->held : buffer_of(s, s->asked);
    return &s->buffers[busy == 0 ? 1 : 0];
}

static void *make_batches(void *argument) {
    pn_batches *b = argument;
    pthread_mutex_lock(&b->lock);
    while (!b->stop) {
        int64_t step;
        stream *s = find_work(b, &step);
        if (!s) {
            pthread_cond_wait(&b->asked, &b->lock);
            continue;
        }
        buffer *to = free_buffer(s);
        to->step = NONE;
        pthread_mutex_unlock(&b->lock);
        make_batch(b, s, step, to->x, to->labels);
        pthread_mutex_lock(&b->lock);
        to->step = step;
        pthread_cond_signal(&b->made);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

pn_status pn_batches_take(pn_batches *b, int index, int64_t step, pn_batch *batch) {
    if (index < 0 || index >= b->count)
        return pn_fail(PN_EARG, "batches: stream %d, want 0 to %d", index, b->count - 1);
    stream *s = &b->streams[index];
    if (!valid_step(s, step))
        return pn_fail(PN_EARG, "batches: step %lld, want 0 to %lld", (long long)step,
                       (long long)(s->want.in_order ? s->steps : INT64_MAX) - 1);
    pthread_mutex_lock(&b->lock);
    s->held = NONE;
    s->asked = step;
    pthread_cond_signal(&b->asked);
    while ((s->held = buffer_of(s, step)) == NONE) pthread_cond_wait(&b->made, &b->lock);
    const buffer *held = &s->buffers[s->held];
    pthread_mutex_unlock(&b->lock);
    *batch = (pn_batch){batch_size(s, step), held->x, held->labels};
    return PN_OK;
}

/* ---- Setting up ------------------------------------------------------------------------------ */

static size_t x_bytes(const pn_data *data, int N) {
    size_t bytes = (size_t)N * (size_t)data->H * (size_t)data->W * (size_t)data->C * sizeof(float);
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static pn_status check_stream(const pn_data *data, const pn_batch_stream *want, int images) {
    static const char *const name[] = {"the data set", "the first half", "the second half"};
    if (want->N < 1 || want->N > images)
        return pn_fail(PN_EARG, "batch %d, want 1 to %d: %s of %s has no more images", want->N,
                       images, name[want->half], data->name);
    if (want->cutout < 0 || want->cutout > PN_MAX_IMAGE_EDGE)
        return pn_fail(PN_EARG, "cutout %d, want 0 (none) to %d", want->cutout, PN_MAX_IMAGE_EDGE);
    return PN_OK;
}

static pn_status open_stream(const pn_batches *b, const pn_batch_stream *want, stream *s) {
    const int half = b->data->count / 2;
    const int first = want->half == PN_HALF_SECOND ? half : 0;
    const int end = want->half == PN_HALF_FIRST ? half : b->data->count;
    s->want = *want;
    s->images = end - first;
    PN_TRY(check_stream(b->data, want, s->images));
    s->steps = (s->images + (want->in_order ? want->N - 1 : 0)) / want->N;

    s->image = malloc((size_t)s->images * sizeof *s->image);
    bool enough = s->image != NULL;
    for (int i = 0; i < BUFFERS; i++) {
        s->buffers[i].step = NONE;
        s->buffers[i].x = aligned_alloc(ALIGN, x_bytes(b->data, want->N));
        s->buffers[i].labels = malloc((size_t)want->N * sizeof *s->buffers[i].labels);
        enough = enough && s->buffers[i].x && s->buffers[i].labels;
    }
    if (!enough)
        return pn_fail(PN_EMEM, "no memory for two batches of %d images of %dx%dx%d", want->N,
                       b->data->H, b->data->W, b->data->C);
    for (int i = 0; i < s->images; i++)
        s->image[i] = want->half == PN_HALF_BOTH
                          ? (uint32_t)i
                          : pn_permute(b->seed, PN_STREAM_SPLIT, 0, (uint32_t)b->data->count,
                                       (uint32_t)(first + i));
    return PN_OK;
}

/* The thread must not be the one that a signal interrupts: the program waits for signals. */
static pn_status start_thread(pn_batches *b) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&b->thread, NULL, make_batches, b);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) return pn_fail(PN_EMEM, "cannot start a thread: %s", strerror(code));
    b->running = true;
    return PN_OK;
}

void pn_normalise(int C, const float *mean, const float *std,
                  float value[PN_MAX_IMAGE_CHANNELS][PN_PIXEL_LEVELS]) {
    for (int c = 0; c < C; c++)
        for (int v = 0; v < PN_PIXEL_LEVELS; v++)
            value[c][v] = (float)((v / 255. - (double)mean[c]) / (double)std[c]);
}

pn_status pn_batches_create(const pn_data *data, const pn_batch_stream *streams, int count,
                            uint64_t seed, pn_batches **out) {
    if (count < 1 || count > PN_MAX_BATCH_STREAMS)
        return pn_fail(PN_EARG, "batches: %d streams, want 1 to %d", count, PN_MAX_BATCH_STREAMS);
    pn_batches *b = calloc(1, sizeof *b);
    if (!b) return pn_fail(PN_EMEM, "no memory for batches");
    b->data = data;
    b->seed = seed;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->asked, NULL);
    pthread_cond_init(&b->made, NULL);
    pn_normalise(data->C, data->mean, data->std, b->value);

    pn_status status = PN_OK;
    for (int i = 0; status == PN_OK && i < count; i++) {
        stream *s = &b->streams[b->count++];
        s->held = NONE;
        s->asked = NONE;
        status = open_stream(b, &streams[i], s);
    }
    if (status == PN_OK) status = start_thread(b);
    if (status == PN_OK)
        *out = b;
    else
        pn_batches_free(b);
    return status;
}

void pn_batches_free(pn_batches *b) {
    if (!b) return;
    if (b->running) {
        pthread_mutex_lock(&b->lock);
        b->stop = true;
        pthread_cond_signal(&b->asked);
        pthread_mutex_unlock(&b->lock);
        pthread_join(b->thread, NULL);
    }
    pthread_cond_destroy(&b->made);
    pthread_cond_destroy(&b->asked);
    pthread_mutex_destroy(&b->lock);
    for (int i = 0; i < b->count; i++) {
        stream *s = &b->streams[i];
        free(s->image);
        for (int j = 0; j < BUFFERS; j++) {
            free(s->buffers[j].x);
            free(s->buffers[j].labels);
        }
    }
    free(b);
}

int64_t pn_batches_steps_per_epoch(const pn_batches *b, int index) {
    return b->streams[index].steps;
}

int pn_batches_images(const pn_batches *b, int index) { return b->streams[index].images; }

size_t pn_batches_bytes(const pn_batches *b) {
    size_t bytes = 0;
    for (int i = 0; i < b->count; i++) {
        const size_t N = (size_t)b->streams[i].want.N;
        bytes += BUFFERS * (x_bytes(b->data, (int)N) + N * sizeof(int32_t));
    }
    return bytes;
}
