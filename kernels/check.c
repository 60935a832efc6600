/* check.c -- see check.h. */
#include "kernels/check.h"

/* The checks that every op has in common; `op` and `job` are for the sentence. */
static pn_status check_jobs(const char *op, const void *jobs, int count) {
    if (count < 0 || count > PN_MAX_CALL || (count > 0 && !jobs))
        return pn_fail(PN_EARG, "%s: %d jobs at %p, want an array of 0 to %d", op, count, jobs,
                       PN_MAX_CALL);
    return PN_OK;
}

static pn_status check_launch(const char *op, const pn_launch *launch) {
    if (!launch || !launch->scratch)
        return pn_fail(PN_EARG, "%s: no scratch, want what %s_scratch asks for", op, op);
    return PN_OK;
}

pn_status pn_check_room(const char *op, const pn_launch *launch, size_t bytes) {
    if (launch->scratch_bytes >= bytes) return PN_OK;
    return pn_fail(PN_EARG, "%s: %zu bytes of scratch, want %zu for these jobs", op,
                   launch->scratch_bytes, bytes);
}

static pn_status check_shape(const char *op, int job, int N, int H, int W) {
    if (N < 1 || H < 1 || W < 1)
        return pn_fail(PN_EARG, "%s: job %d: N %d, H %d, W %d, want 1 or more each", op, job, N, H,
                       W);
    if (pn_too_many_pixels(N, H, W))
        return pn_fail(PN_EARG, "%s: job %d: %d images of %dx%d, want less than 2^31 pixels", op,
                       job, N, H, W);
    return PN_OK;
}

static pn_status check_channels(const char *op, int job, int C) {
    if (C < 4 || C % 4 || C > PN_MAX_WIDTH)
        return pn_fail(PN_EARG, "%s: job %d: %d channels, want a multiple of 4 up to %d", op, job,
                       C, PN_MAX_WIDTH);
    return PN_OK;
}

static pn_status check_shares_dx(const char *op, int job, int shares_dx) {
    if (shares_dx == 0 || (shares_dx == 1 && job > 0)) return PN_OK;
    return pn_fail(PN_EARG, "%s: job %d: shares_dx %d, want 0%s", op, job, shares_dx,
                   job > 0 ? " or 1" : ": there is no job before it");
}

/* `shares`: do the addresses say that it shares a dx with the job before? */
static pn_status check_said(const char *op, int job, int shares_dx, int shares) {
    if (shares_dx == shares) return PN_OK;
    return pn_fail(PN_EARG, "%s: job %d: shares_dx %d, but it shares %s with the job before", op,
                   job, shares_dx, shares ? "a dx" : "no dx");
}

static pn_status check_norm(const char *op, int job, const pn_norm *norm, int output) {
    if (norm->mode == PN_NORM_NONE) return PN_OK;
    if (norm->mode != PN_NORM_BATCH && norm->mode != PN_NORM_RUNNING)
        return pn_fail(PN_EARG, "%s: job %d: BatchNorm of mode %d, want 0, 1 or 2", op, job,
                       (int)norm->mode);
    if (!norm->stats) return pn_fail(PN_EARG, "%s: job %d: BatchNorm without stats", op, job);
    if (!norm->running_mean != !norm->running_var)
        return pn_fail(PN_EARG, "%s: job %d: one of running_mean, running_var is NULL", op, job);
    if (output && norm->mode == PN_NORM_RUNNING && !norm->running_mean)
        return pn_fail(PN_EARG, "%s: job %d: running BatchNorm without running statistics", op,
                       job);
    return PN_OK;
}

static pn_status check_input(const char *op, int job, const pn_input *in) {
    if (!in->x) return pn_fail(PN_EARG, "%s: job %d: x is NULL", op, job);
    if (in->add != 0 && in->add != 1)
        return pn_fail(PN_EARG, "%s: job %d: add %d, want 0 or 1", op, job, in->add);
    return check_norm(op, job, &in->norm, 0);
}

static pn_status check_output(const char *op, int job, const pn_output *out, int backward) {
    if (!backward && !out->z) return pn_fail(PN_EARG, "%s: job %d: z is NULL", op, job);
    if (backward && !out->dy) return pn_fail(PN_EARG, "%s: job %d: dy is NULL", op, job);
    if (backward && out->norm.mode == PN_NORM_BATCH && !out->z)
        return pn_fail(PN_EARG, "%s: job %d: z is NULL, but its BatchNorm needs it", op, job);
    return check_norm(op, job, &out->norm, 1);
}

/* ---- stem ------------------------------------------------------------------------------------ */

pn_status pn_check_stem_shapes(const char *op, const pn_stem *jobs, int count) {
    PN_TRY(check_jobs(op, jobs, count));
    for (int j = 0; j < count; j++) {
        const pn_stem *job = &jobs[j];
        PN_TRY(check_shape(op, j, job->N, job->H, job->W));
        PN_TRY(check_channels(op, j, job->out.K));
        if (job->C != 1 && job->C != 3)
            return pn_fail(PN_EARG, "%s: job %d: an image of %d channels, want 1 or 3", op, j,
                           job->C);
        if (job->stride != 1 && job->stride != 2)
            return pn_fail(PN_EARG, "%s: job %d: stride %d, want 1 or 2", op, j, job->stride);
    }
    return PN_OK;
}

pn_status pn_check_stem(const char *op, const pn_stem *jobs, int count, int backward_pass,
                        const pn_launch *launch) {
    PN_TRY(pn_check_stem_shapes(op, jobs, count));
    PN_TRY(check_launch(op, launch));
    for (int j = 0; j < count; j++) {
        const pn_stem *job = &jobs[j];
        if (!job->x || !(backward_pass ? job->dw : job->w))
            return pn_fail(PN_EARG, "%s: job %d: %s is NULL", op, j,
                           !job->x         ? "x"
                           : backward_pass ? "dw"
                                           : "w");
        PN_TRY(check_output(op, j, &job->out, backward_pass));
    }
    return PN_OK;
}

/* ---- stage ----------------------------------------------------------------------------------- */

pn_status pn_check_stage_shapes(const char *op, const pn_stage *jobs, int count) {
    PN_TRY(check_jobs(op, jobs, count));
    for (int i = 0; i < count; i++) {
        const pn_stage *j = &jobs[i];
        PN_TRY(check_shape(op, i, j->N, j->H, j->W));
        PN_TRY(check_shares_dx(op, i, j->shares_dx));
        PN_TRY(check_channels(op, i, j->in.C));
        if (j->out.K != j->in.C)
            return pn_fail(PN_EARG, "%s: job %d: %d channels out, want the %d in", op, i, j->out.K,
                           j->in.C);
        if ((j->R != 3 && j->R != 5) || (j->dilation != 1 && j->dilation != 2) ||
            (j->stride != 1 && j->stride != 2))
            return pn_fail(PN_EARG,
                           "%s: job %d: R %d, dilation %d, stride %d, want R 3 or 5, dilation 1 "
                           "or 2, stride 1 or 2",
                           op, i, j->R, j->dilation, j->stride);
    }
    return PN_OK;
}

pn_status pn_check_stage(const char *op, const pn_stage *jobs, int count, int backward,
                         const pn_launch *l) {
    PN_TRY(pn_check_stage_shapes(op, jobs, count));
    PN_TRY(check_launch(op, l));
    for (int i = 0; i < count; i++) {
        const pn_stage *j = &jobs[i], *before = j - 1;
        PN_TRY(check_input(op, i, &j->in));
        PN_TRY(check_output(op, i, &j->out, backward));
        if (!j->dw || !j->pw || (backward && (!j->ddw || !j->dpw)))
            return pn_fail(PN_EARG, "%s: job %d: one of dw, pw%s is NULL", op, i,
                           backward ? ", ddw, dpw" : "");
        if (!backward) continue;
        PN_TRY(check_said(op, i, j->shares_dx, i > 0 && j->in.dx && j->in.dx == before->in.dx));
        if (!j->shares_dx) continue;
        if (j->N != before->N || j->H != before->H || j->W != before->W ||
            j->in.C != before->in.C || !j->in.add)
            return pn_fail(PN_EARG,
                           "%s: job %d shares dx with the one before: (%d,%d,%d,%d) and "
                           "(%d,%d,%d,%d), add %d; want one shape and add 1",
                           op, i, j->N, j->H, j->W, j->in.C, before->N, before->H, before->W,
                           before->in.C, j->in.add);
    }
    return PN_OK;
}

/* ---- conv1x1, reduce and conv ---------------------------------------------------------------- */

static pn_status check_conv_shapes(const char *op, const pn_conv *jobs, int count) {
    PN_TRY(check_jobs(op, jobs, count));
    for (int j = 0; j < count; j++) {
        const pn_conv *s = &jobs[j];
        PN_TRY(check_shape(op, j, s->N, s->H, s->W));
        PN_TRY(check_shares_dx(op, j, s->shares_dx));
        if (s->parts < 1 || s->parts > PN_PARTS)
            return pn_fail(PN_EARG, "%s: job %d: %d parts, want 1 to %d", op, j, s->parts,
                           PN_PARTS);
        for (int i = 0; i < s->parts; i++) PN_TRY(check_channels(op, j, s->in[i].C));
        PN_TRY(check_channels(op, j, s->out.K));
    }
    return PN_OK;
}

static int convs_share_dx(const pn_conv *a, const pn_conv *b) {
    for (int i = 0; i < a->parts; i++)
        for (int j = 0; j < b->parts; j++)
            if (a->in[i].dx && a->in[i].dx == b->in[j].dx) return 1;
    return 0;
}

/* Two neighbours that share a dx share all, in one shape, and the second adds. */
static pn_status check_conv_sharing(const char *op, int job, const pn_conv *s,
                                    const pn_conv *before) {
    int same =
        s->N == before->N && s->H == before->H && s->W == before->W && s->parts == before->parts;
    for (int i = 0; i < s->parts && same; i++)
        same = s->in[i].dx == before->in[i].dx && s->in[i].C == before->in[i].C &&
               (s->in[i].add || !s->in[i].dx);
    if (same) return PN_OK;
    return pn_fail(PN_EARG,
                   "%s: job %d shares dx with the one before, want the same N,H,W, the same dx "
                   "and C in each of the parts, and add 1",
                   op, job);
}

static pn_status check_conv(const char *op, const pn_conv *jobs, int count, int backward,
                            const pn_launch *l) {
    PN_TRY(check_conv_shapes(op, jobs, count));
    PN_TRY(check_launch(op, l));
    for (int j = 0; j < count; j++) {
        const pn_conv *s = &jobs[j], *before = s - 1;
        for (int i = 0; i < s->parts; i++) PN_TRY(check_input(op, j, &s->in[i]));
        PN_TRY(check_output(op, j, &s->out, backward));
        if (!s->w || (backward && !s->dw))
            return pn_fail(PN_EARG, "%s: job %d: w%s is NULL", op, j, backward ? " or dw" : "");
        if (!backward) continue;
        PN_TRY(check_said(op, j, s->shares_dx, j > 0 && convs_share_dx(before, s)));
        if (s->shares_dx) PN_TRY(check_conv_sharing(op, j, s, before));
    }
    return PN_OK;
}

static pn_status check_windows(const char *op, const pn_conv *jobs, int count) {
    for (int i = 0; i < count; i++) {
        const pn_conv *j = &jobs[i];
        if (j->R < 1 || j->R > 5 || j->stride < 1 || j->stride > 3 || (j->mean & ~1))
            return pn_fail(PN_EARG,
                           "%s: job %d: R %d, stride %d, mean %d, want R 1 to 5, stride 1 to 3, "
                           "mean 0 or 1",
                           op, i, j->R, j->stride, j->mean);
        if (j->pad < 0 || j->pad >= (j->mean ? 1 : j->R))
            return pn_fail(PN_EARG, "%s: job %d: pad %d, want 0 to %d", op, i, j->pad,
                           j->mean ? 0 : j->R - 1);
        if (j->H + 2 * j->pad < j->R || j->W + 2 * j->pad < j->R)
            return pn_fail(PN_EARG, "%s: job %d: an image of %dx%d with pad %d, want R %d or more",
                           op, i, j->H, j->W, j->pad, j->R);
    }
    return PN_OK;
}

pn_status pn_check_conv1x1_shapes(const char *op, const pn_conv1x1 *jobs, int count) {
    return check_conv_shapes(op, jobs, count);
}
pn_status pn_check_reduce_shapes(const char *op, const pn_reduce *jobs, int count) {
    return check_conv_shapes(op, jobs, count);
}
pn_status pn_check_conv_shapes(const char *op, const pn_conv *jobs, int count) {
    PN_TRY(check_conv_shapes(op, jobs, count));
    return check_windows(op, jobs, count);
}
pn_status pn_check_conv1x1(const char *op, const pn_conv1x1 *jobs, int count, int backward,
                           const pn_launch *l) {
    return check_conv(op, jobs, count, backward, l);
}
pn_status pn_check_reduce(const char *op, const pn_reduce *jobs, int count, int backward,
                          const pn_launch *l) {
    return check_conv(op, jobs, count, backward, l);
}
pn_status pn_check_conv(const char *op, const pn_conv *jobs, int count, int backward,
                        const pn_launch *l) {
    PN_TRY(check_conv(op, jobs, count, backward, l));
    return check_windows(op, jobs, count);
}

/* ---- pool ------------------------------------------------------------------------------------ */

pn_status pn_check_pool_shapes(const char *op, const pn_pool *jobs, int count) {
    PN_TRY(check_jobs(op, jobs, count));
    for (int j = 0; j < count; j++) {
        const pn_pool *job = &jobs[j];
        PN_TRY(check_shape(op, j, job->N, job->H, job->W));
        PN_TRY(check_shares_dx(op, j, job->shares_dx));
        PN_TRY(check_channels(op, j, job->in.C));
        if (job->out.K != job->in.C)
            return pn_fail(PN_EARG, "%s: job %d: %d channels out, want the %d in", op, j,
                           job->out.K, job->in.C);
        if (job->stride != 1 && job->stride != 2)
            return pn_fail(PN_EARG, "%s: job %d: stride %d, want 1 or 2", op, j, job->stride);
        if (job->kind != PN_POOL_MAX && job->kind != PN_POOL_AVG)
            return pn_fail(PN_EARG, "%s: job %d: kind %d, want %d (max) or %d (average)", op, j,
                           (int)job->kind, PN_POOL_MAX, PN_POOL_AVG);
    }
    return PN_OK;
}

pn_status pn_check_pool(const char *op, const pn_pool *jobs, int count, int backward_pass,
                        const pn_launch *launch) {
    PN_TRY(pn_check_pool_shapes(op, jobs, count));
    PN_TRY(check_launch(op, launch));
    for (int j = 0; j < count; j++) {
        const pn_pool *job = &jobs[j], *before = job - 1;
        PN_TRY(check_input(op, j, &job->in));
        PN_TRY(check_output(op, j, &job->out, backward_pass));
        if (!backward_pass) continue;
        PN_TRY(
            check_said(op, j, job->shares_dx, j > 0 && job->in.dx && job->in.dx == before->in.dx));
        if (!job->shares_dx) continue;
        if (job->N != before->N || job->H != before->H || job->W != before->W ||
            job->in.C != before->in.C || !job->in.add)
            return pn_fail(PN_EARG,
                           "%s: job %d shares dx with the one before: (%d,%d,%d,%d) and "
                           "(%d,%d,%d,%d), add %d; want one shape and add 1",
                           op, j, job->N, job->H, job->W, job->in.C, before->N, before->H,
                           before->W, before->in.C, job->in.add);
    }
    return PN_OK;
}

/* ---- node ------------------------------------------------------------------------------------ */

static int node_shares_dx(const pn_node *jobs, int j) {
    if (j == 0) return 0;
    for (int t = 0; t < jobs[j].terms; t++)
        for (int s = 0; s < jobs[j - 1].terms; s++)
            if (jobs[j].term[t].in.dx && jobs[j].term[t].in.dx == jobs[j - 1].term[s].in.dx)
                return 1;
    return 0;
}

/* Whoever adds to the dx of the term, or of the job, before it must not overwrite it. */
static pn_status check_node_sharing(const char *op, const pn_node *jobs, int j) {
    const pn_node *job = &jobs[j], *before = job - 1;
    const int shares = job->shares_dx;
    PN_TRY(check_said(op, j, shares, node_shares_dx(jobs, j)));
    if (shares &&
        (job->N != before->N || job->H != before->H || job->W != before->W || job->C != before->C))
        return pn_fail(PN_EARG,
                       "%s: job %d shares dx with the one before: (%d,%d,%d,%d) and "
                       "(%d,%d,%d,%d), want one shape",
                       op, j, job->N, job->H, job->W, job->C, before->N, before->H, before->W,
                       before->C);
    for (int t = 0; t < job->terms; t++) {
        const pn_input *in = &job->term[t].in;
        int second = t > 0 && in->dx == job->term[t - 1].in.dx;
        for (int s = 0; shares && s < before->terms; s++) second |= in->dx == before->term[s].in.dx;
        if (in->dx && second && !in->add)
            return pn_fail(PN_EARG,
                           "%s: job %d: term %d shares dx with one before it and has add 0, want 1",
                           op, j, t);
    }
    return PN_OK;
}

static pn_status check_restore(const char *op, const pn_node *job, int j) {
    if (job->terms < 1)
        return pn_fail(PN_EARG, "%s: job %d: restore %d without a term to put back", op, j,
                       job->restore);
    const pn_term *last = &job->term[job->terms - 1];
    const pn_norm *norm = &last->in.norm;
    if (last->in.x == job->h && last->coef != 0 && !last->weight && !last->factor && !last->in.dx &&
        norm->mode == PN_NORM_BATCH && !norm->gamma && !norm->beta)
        return PN_OK;
    return pn_fail(PN_EARG,
                   "%s: job %d: restore %d with a last term of another x than h, coef %g, or a "
                   "weight, a factor, a dx, or no plain BatchNorm of the batch",
                   op, j, job->restore, (double)last->coef);
}

pn_status pn_check_node_shapes(const char *op, const pn_node *jobs, int count) {
    PN_TRY(check_jobs(op, jobs, count));
    for (int j = 0; j < count; j++) {
        const pn_node *job = &jobs[j];
        PN_TRY(check_shape(op, j, job->N, job->H, job->W));
        PN_TRY(check_shares_dx(op, j, job->shares_dx));
        PN_TRY(check_channels(op, j, job->C));
        if (job->terms < 0 || job->terms > PN_MAX_TERMS)
            return pn_fail(PN_EARG, "%s: job %d: %d terms, want 0 to %d", op, j, job->terms,
                           PN_MAX_TERMS);
    }
    return PN_OK;
}

pn_status pn_check_node(const char *op, const pn_node *jobs, int count, int backward_pass,
                        const pn_launch *launch) {
    PN_TRY(pn_check_node_shapes(op, jobs, count));
    PN_TRY(check_launch(op, launch));
    for (int j = 0; j < count; j++) {
        const pn_node *job = &jobs[j];
        if (!job->term && job->terms > 0)
            return pn_fail(PN_EARG, "%s: job %d: term is NULL", op, j);
        if (backward_pass ? !job->dh : !job->h)
            return pn_fail(PN_EARG, "%s: job %d: %s is NULL", op, j, backward_pass ? "dh" : "h");
        for (int t = 0; t < job->terms; t++) {
            const pn_input *in = &job->term[t].in;
            PN_TRY(check_input(op, j, in));
            if (in->C != job->C)
                return pn_fail(PN_EARG, "%s: job %d: term %d has %d channels, want the node's %d",
                               op, j, t, in->C, job->C);
        }
        if (job->restore) PN_TRY(check_restore(op, job, j));
        if (backward_pass) PN_TRY(check_node_sharing(op, jobs, j));
    }
    return PN_OK;
}

/* ---- head ------------------------------------------------------------------------------------ */

static int head_shares_dx(const pn_head *jobs, int j) {
    if (j == 0) return 0;
    for (int i = 0; i < jobs[j].parts; i++)
        for (int k = 0; k < jobs[j - 1].parts; k++)
            if (jobs[j].in[i].dx && jobs[j].in[i].dx == jobs[j - 1].in[k].dx) return 1;
    return 0;
}

static pn_status check_head_sharing(const char *op, const pn_head *jobs, int j) {
    const pn_head *job = &jobs[j], *before = job - 1;
    if (job->N != before->N || job->H != before->H || job->W != before->W)
        return pn_fail(PN_EARG,
                       "%s: job %d shares dx with the one before: N, H, W %d, %d, %d and %d, %d, "
                       "%d, want one shape",
                       op, j, job->N, job->H, job->W, before->N, before->H, before->W);
    for (int i = 0; i < job->parts; i++)
        for (int k = 0; k < before->parts; k++) {
            const pn_input *in = &job->in[i], *other = &before->in[k];
            if (in->dx && in->dx == other->dx && (in->C != other->C || !in->add))
                return pn_fail(PN_EARG,
                               "%s: job %d, part %d shares dx with the job before: %d and %d "
                               "channels, add %d; want the same and add 1",
                               op, j, i, in->C, other->C, in->add);
        }
    return PN_OK;
}

pn_status pn_check_head_shapes(const char *op, const pn_head *jobs, int count) {
    PN_TRY(check_jobs(op, jobs, count));
    for (int j = 0; j < count; j++) {
        const pn_head *job = &jobs[j];
        PN_TRY(check_shape(op, j, job->N, job->H, job->W));
        PN_TRY(check_shares_dx(op, j, job->shares_dx));
        if (job->parts < 1 || job->parts > PN_PARTS)
            return pn_fail(PN_EARG, "%s: job %d: %d parts, want 1 to %d", op, j, job->parts,
                           PN_PARTS);
        if (job->classes < 1 || job->classes > PN_MAX_CLASSES)
            return pn_fail(PN_EARG, "%s: job %d: %d classes, want 1 to %d", op, j, job->classes,
                           PN_MAX_CLASSES);
        for (int i = 0; i < job->parts; i++) PN_TRY(check_channels(op, j, job->in[i].C));
    }
    return PN_OK;
}

pn_status pn_check_head(const char *op, const pn_head *jobs, int count, int backward_pass,
                        const pn_launch *launch) {
    PN_TRY(pn_check_head_shapes(op, jobs, count));
    PN_TRY(check_launch(op, launch));
    for (int j = 0; j < count; j++) {
        const pn_head *job = &jobs[j];
        if (!(job->smoothing >= 0 && job->smoothing <= 1))
            return pn_fail(PN_EARG, "%s: job %d: label smoothing %g, want 0 to 1", op, j,
                           job->smoothing);
        for (int i = 0; i < job->parts; i++) PN_TRY(check_input(op, j, &job->in[i]));
        if (!job->labels || !job->w || !job->pooled || !job->logits)
            return pn_fail(PN_EARG, "%s: job %d: labels, w, pooled or logits is NULL", op, j);
        if (backward_pass ? !job->dw || !job->db : !job->b || !job->result)
            return pn_fail(PN_EARG, "%s: job %d: %s is NULL", op, j,
                           backward_pass ? "dw or db" : "b or result");
        if (!backward_pass) continue;
        PN_TRY(check_said(op, j, job->shares_dx, head_shares_dx(jobs, j)));
        if (job->shares_dx) PN_TRY(check_head_sharing(op, jobs, j));
    }
    return PN_OK;
}

/* ---- update ---------------------------------------------------------------------------------- */

pn_status pn_check_ranges(const char *op, const pn_range *ranges, int count) {
    if (count < 0 || (count > 0 && !ranges))
        return pn_fail(PN_EARG, "%s: %d ranges at %p, want an array of 0 or more", op, count,
                       (const void *)ranges);
    return PN_OK;
}

pn_status pn_check_scale(const pn_range *ranges, int count, const float *value) {
    PN_TRY(pn_check_ranges("scale", ranges, count));
    if (count > 0 && !value) return pn_fail(PN_EARG, "scale: value is NULL");
    return PN_OK;
}

pn_status pn_check_sgd(pn_sgd s) {
    if (!(s.clip >= 0)) return pn_fail(PN_EARG, "sgd: clip %g, want 0 (no limit) or more", s.clip);
    if (s.nesterov != 0 && s.nesterov != 1)
        return pn_fail(PN_EARG, "sgd: nesterov %d, want 0 or 1", s.nesterov);
    return PN_OK;
}

pn_status pn_check_share(const pn_result *found, int samples, int shards, double temperature,
                         double skip_below, const pn_share *share) {
    if (!found || !share) return pn_fail(PN_EARG, "share: found or share is NULL");
    if (samples < 1 || shards < 1)
        return pn_fail(PN_EARG, "share: %d samples, %d shards, want 1 or more each", samples,
                       shards);
    if (!(temperature > 0) || !(skip_below >= 0))
        return pn_fail(PN_EARG, "share: temperature %g, skip_below %g, want > 0 and >= 0",
                       temperature, skip_below);
    return PN_OK;
}

pn_status pn_check_tally(const pn_range *ranges, int count, const float *packed,
                         const pn_share *share, const int64_t *sum, const float *scale) {
    PN_TRY(pn_check_ranges("tally", ranges, count));
    if (!share || !scale || (count > 0 && (!packed || !sum)))
        return pn_fail(PN_EARG, "tally: packed, share, sum or scale is NULL");
    return PN_OK;
}

pn_status pn_check_settle(const pn_range *ranges, int count, const int64_t *sum, const float *scale,
                          const float *to) {
    PN_TRY(pn_check_ranges("settle", ranges, count));
    if (!scale || (count > 0 && (!sum || !to)))
        return pn_fail(PN_EARG, "settle: sum, scale or to is NULL");
    return PN_OK;
}
