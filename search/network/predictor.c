/* predictor.c -- see predictor.h. */
#include "search/network/predictor.h"

static pn_status build(const pn_network *network, const pn_arch *arch, pn_program *program,
                       const pn_memory *memory, int N, pn_result *found, pn_program_size *size) {
    PN_TRY(pn_network_build(
        network, arch, program,
        &(pn_build){
            .N = N, .inference = true, .guarded = pn_arena_checks(memory), .result = found}));
    return pn_program_compile(program, size);
}

pn_status pn_predict_bytes(const pn_network *network, const pn_arch *arch, pn_program *program,
                           const pn_memory *memory, int N, size_t *bytes) {
    pn_program_size size;
    PN_TRY(build(network, arch, program, memory, N, NULL, &size));
    *bytes = size.arena_bytes;
    return PN_OK;
}

static pn_status create(pn_predictor *p, size_t image_floats) {
    const pn_memory *memory = p->kernels->memory;
    void *found;
    PN_TRY(pn_device_batch_create(&p->batch, memory, p->N, image_floats));
    PN_TRY(memory->allocate(sizeof *p->found, &found));
    p->found = found;
    return PN_OK;
}

pn_status pn_predictor_create(pn_predictor *p, const pn_kernels *kernels, pn_network *network,
                              const pn_arch *arch, pn_program *program, pn_arena *arena, int N) {
    const pn_network_spec *n = &network->spec;
    *p = (pn_predictor){.kernels = kernels,
                        .network = network,
                        .arch = arch,
                        .program = program,
                        .arena = arena,
                        .N = N};
    const pn_status s = create(p, (size_t)n->H * (size_t)n->W * (size_t)n->image_channels);
    if (s != PN_OK) pn_predictor_destroy(p);
    return s;
}

void pn_predictor_destroy(pn_predictor *p) {
    pn_device_batch_destroy(&p->batch);
    if (p->kernels) p->kernels->memory->release(p->found);
    *p = (pn_predictor){0};
}

void pn_predictor_forget(pn_predictor *p) { p->bound = (pn_batch){0}; }

/* The program for this many images, bound to where they are. After a failure it is built anew. */
static pn_status prepare(pn_predictor *p, int n) {
    const pn_batch *here = &p->batch.batch;
    pn_program_size size;
    if (n == p->built && p->bound.x == here->x && p->bound.labels == here->labels) return PN_OK;
    pn_predictor_forget(p);
    if (n != p->built) {
        p->built = 0;
        PN_TRY(build(p->network, p->arch, p->program, p->kernels->memory, n, p->found, &size));
        p->built = n;
    }
    PN_TRY(pn_program_bind(p->program, p->arena, &p->network->parameters, here->x, here->labels,
                           NULL));
    p->bound = *here;
    return PN_OK;
}

pn_status pn_predictor_run(pn_predictor *p, const pn_batch *batch, float *logits) {
    const size_t count = (size_t)batch->n * (size_t)p->network->spec.classes;
    PN_TRY(pn_device_batch_upload(&p->batch, batch));
    PN_TRY(prepare(p, batch->n));
    PN_TRY(pn_program_forward(p->program));
    return p->kernels->memory->download(logits, pn_program_logits(p->program, 0),
                                        count * sizeof *logits);
}
