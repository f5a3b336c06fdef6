// The backward pass.
#ifndef TINYNAS_BACKWARD_H
#define TINYNAS_BACKWARD_H

#include "forward.h"

// The number of a buffer for the gradient of a map, which has one user.
static int take_buffer(run *r) {
    int i = 0;
    while (r->users[i]) i++;
    if (!r->buffers[i]) r->buffers[i] = take_vectors(r, (size_t)r->blocks * r->largest);
    r->users[i] = 1;
    return i;
}

static void release(run *r, int buffer) {
    if (buffer >= 0) r->users[buffer]--;
}

// Gives an operation's map a gradient that another has: both use its buffer.
static void share_gradient(run *r, state *to, const state *from) {
    to->gradient = from->gradient;
    to->gradient_block = from->gradient_block;
    to->buffer = from->buffer;
    if (to->buffer >= 0) r->users[to->buffer]++;
}

// Gives the input of an operation a gradient in a buffer of its own; what it has had is added to it.
static void make_gradient(run *r, state *s, state *input) {
    int buffer = take_buffer(r);
    s->added = input->gradient;
    s->added_block = input->gradient_block;
    if (s->added) release(r, input->buffer);  // not before this operation has ended: the new buffer is another
    s->result = r->buffers[buffer];
    input->gradient = s->result;
    input->gradient_block = r->largest;
    input->buffer = buffer;
}

// Gives the shortcut of a sum its gradient: that of the sum, plus what it has had as an output of the program.
static void pass_to_shortcut(run *r, state *s, state *shortcut) {
    if (!shortcut->gradient) {
        share_gradient(r, shortcut, s);
        return;
    }
    s->of_shortcut = shortcut->gradient;
    s->of_shortcut_block = shortcut->gradient_block;
    int buffer = take_buffer(r);
    release(r, shortcut->buffer);
    s->shortcut_result = r->buffers[buffer];
    shortcut->gradient = s->shortcut_result;
    shortcut->gradient_block = r->largest;
    shortcut->buffer = buffer;
}

// Plans what the backward pass of an operation reads and writes, given the gradient of its output.
static void plan_operation(run *r, int i) {
    const operation *o = r->ops + i;
    state *s = r->states + i, *input = o->input < 0 ? NULL : r->states + o->input;
    if (o->kind == SUM && o->shortcut >= 0) pass_to_shortcut(r, s, r->states + o->shortcut);
    if (o->kind == SUM && r->ops[o->input].act == LINEAR) {
        share_gradient(r, input, s);
    } else if (o->kind != GATE && input) {
        make_gradient(r, s, input);
    }
    if (o->kind == GATE) s->result = (vec *)input->gradient;  // in place
    release(r, s->buffer);
    if (is_convolution(o)) {
        s->sums = take(r, sizeof(gradient_sums) * r->blocks * o->outputs);
        s->norms = take(r, sizeof(norm_gradient) * r->threads * o->outputs);
        s->weight_gradients = take_floats(r, weights_of(o) * r->threads);
        if (o->kind == POINTWISE) s->transposed = take_floats(r, weights_of(o));
    } else if (o->kind == GATE) {
        s->weight_gradients = take_floats(r, gate_weights(o) * r->threads);
    }
}

// Vectors that the sums of an operation's weight gradients need.
static size_t weight_sums_needed(const operation *o) {
    if (o->kind == POINTWISE) return (outer_product_size((int)o->outputs, (int)o->inputs) + LANES - 1) / LANES;
    if (o->kind == GATE) return gate_weights(o) + o->inputs;
    return is_convolution(o) ? weights_of(o) : 0;
}

// Lays out the gradients of the program's outputs.
static void plan_output_gradients(run *r) {
    for (int k = 0; k < r->num_outputs; k++) {
        state *s = r->states + r->outputs[k];
        s->gradient_block = output_size(r->ops + r->outputs[k]);
        s->output_gradient = take_vectors(r, r->blocks * s->gradient_block);
        s->gradient = s->output_gradient;
    }
}

// Copies those of a block.
static void pack_output_gradients(run *r, int block) {
    for (int k = 0; k < r->num_outputs; k++) {
        const state *s = r->states + r->outputs[k];
        long size = output_size(r->ops + r->outputs[k]);
        pack(r->results[k] + block * LANES * size, live_count(r, block), size, s->output_gradient + block * size);
    }
}

// Lays out the memory of the backward pass. buffers, users: (2 * count), for its use.
static void plan_backward(run *r, vec **buffers, int *users) {
    size_t sums = 0;
    r->buffers = buffers;
    r->users = users;
    memset(buffers, 0, sizeof(vec *) * 2 * r->count);
    memset(users, 0, sizeof(int) * 2 * r->count);
    plan_output_gradients(r);
    for (int i = 0; i < r->count; i++) {
        const operation *o = r->ops + i;
        long size = o->kind == GATE || o->kind == AVERAGE ? 0 : (long)o->outputs * out_pixels(o);
        if (size > r->largest) r->largest = size;
        size_t weights = weight_sums_needed(o);
        if (weights > sums) sums = weights;
    }
    r->weight_sums_size = sums;
    r->weight_sums = take_vectors(r, sums * r->threads);
    for (int i = r->count - 1; i >= 0; i--) plan_operation(r, i);
}

// The coefficients of the gradient before the norm; the first thread adds the gradients of the norm's parameters.
static void finish_norm_gradient(const run *r, const operation *o, const state *s, int thread) {
    double count = (double)r->batch * out_pixels(o);
    float *of_scale = r->gradients[o->scale.tensor], *of_shift = r->gradients[o->shift.tensor];
    for (int c = 0; c < o->outputs; c++) {
        double g = 0, gy = 0, inverse = s->norm.deviations[c];
        for (int b = 0; b < r->blocks; b++) {
            g += s->sums[b * o->outputs + c].g;
            gy += s->sums[b * o->outputs + c].gy;
        }
        s->norms[thread * o->outputs + c] = (norm_gradient){s->norm.scale[c], s->norm.means[c],
                                                           (float)(inverse * inverse * gy / count), (float)(g / count)};
        if (thread == 0 && of_scale) of_scale[o->scale.offset + c] += (float)(gy * inverse);
        if (thread == 0 && of_shift) of_shift[o->shift.offset + c] += (float)g;
    }
}

static void backward_convolution(run *r, int i, int block, int thread, vec *sums, vec *scratch) {
    const operation *o = r->ops + i;
    state *s = r->states + i;
    const state *input = o->input < 0 ? NULL : r->states + o->input;
    reader in = reader_of(r, o, block);
    geometry g = geometry_of(o);
    int reads_norm = o->input >= 0 && is_convolution(r->ops + o->input) && !in.gate;
    backward_block b = {
        .g = s->gradient + block * s->gradient_block,
        .y = s->map + (long)block * o->outputs * out_pixels(o),
        .norm = s->norms + thread * o->outputs,
        .live = live_lanes(r, block),
        .weights = o->kind == POINTWISE ? s->transposed : s->weights,
        .add = s->added ? s->added + block * s->added_block : NULL,
        .means = reads_norm ? input->norm.means : NULL,
        .gx = s->result ? s->result + block * r->largest : NULL,
        .dw = r->gradients[o->weight.tensor] ? sums : NULL,
        .sums = reads_norm ? input->sums + block * o->inputs : NULL,
    };
    if (o->kind == DENSE && b.dw) dense_backward(&in, &b, (int)o->inputs, (int)o->outputs, &g, scratch);
    if (o->kind == POINTWISE) pointwise_backward(&in, &b, (int)o->inputs, (int)o->outputs, in_pixels(o), scratch);
    if (o->kind == DEPTHWISE) depthwise_backward(&in, &b, (int)o->outputs, &g, scratch);
}

static void backward_gate(run *r, int i, int block, vec *sums, vec *scratch) {
    const operation *o = r->ops + i;
    state *s = r->states + i, *input = r->states + o->input;
    int channels = (int)o->inputs, hidden = (int)o->outputs;
    long at = (long)block * (3 * channels + hidden);
    reader in = reader_of(r, o, block);
    gate_state gates = {s->gates.pooled + at, s->gates.hidden + at, s->gates.logits + at, s->gates.gates + at};
    gate_gradient out = {sums, sums + hidden * channels, sums + hidden * (channels + 1),
                         sums + hidden * (2 * channels + 1), sums + gate_weights(o)};
    vec *g = s->result + block * r->largest;
    gate_backward(&in, g, &s->squeeze, &gates, &out, in_pixels(o), scratch);
    in.gate = gates.gates;
    activation_backward(&in, g, out.pooled, g, input->norm.means, input->sums + block * channels, channels,
                        in_pixels(o));
}

static void backward_elementwise(run *r, int i, int block) {
    const operation *o = r->ops + i;
    state *s = r->states + i, *input = r->states + o->input;
    if (s->shortcut_result) {
        const vec *g = s->gradient + block * s->gradient_block, *other = s->of_shortcut + block * s->of_shortcut_block;
        vec *sum = s->shortcut_result + block * r->largest;
        for (long k = 0; k < (long)o->outputs * out_pixels(o); k++) sum[k] = g[k] + other[k];
    }
    reader in = reader_of(r, o, block);
    const vec *g = s->gradient + block * s->gradient_block;
    int channels = (int)o->outputs, pixels = in_pixels(o);
    const float *means = in.act == PLAIN ? NULL : input->norm.means;
    gradient_sums *sums = in.act == PLAIN ? NULL : input->sums + block * channels;
    vec *gx = s->result ? s->result + block * r->largest : NULL;
    if (o->kind == AVERAGE)
        activation_backward(&in, NULL, g, gx, means, sums, channels, pixels);
    else
        activation_backward(&in, g, NULL, gx, means, sums, channels, pixels);
}

static void backward_upsample(run *r, int i, int block) {
    const operation *o = r->ops + i;
    const state *s = r->states + i;
    const vec *add = s->added ? s->added + block * s->added_block : NULL;
    upsample_backward(s->gradient + block * s->gradient_block, add, s->result + block * r->largest, (int)o->outputs,
                    (int)o->height, (int)o->width);
}

// Adds up the lanes of a thread's sums of weight gradients.
static void finish_weight_gradients(run *r, int i, int thread, const vec *sums) {
    const operation *o = r->ops + i;
    long size = o->kind == GATE ? gate_weights(o) : weights_of(o);
    float *out = r->states[i].weight_gradients + thread * size;
    if (o->kind == POINTWISE)
        finish_outer_products((const float *)sums, out, (int)o->outputs, (int)o->inputs);
    else
        for (long k = 0; k < size; k++) out[k] = (float)sum_lanes(sums[k]);
}

static void backward_operation(run *r, int i, int thread, int first, int end) {
    const operation *o = r->ops + i;
    state *s = r->states + i;
    vec *scratch = r->scratch + r->scratch_size * thread, *sums = r->weight_sums + r->weight_sums_size * thread;
    if (is_convolution(o)) {
        if (thread == 0 && o->kind == POINTWISE) transpose(s->weights, s->transposed, (int)o->outputs, (int)o->inputs);
        wait_for_all(r);
        finish_norm_gradient(r, o, s, thread);
    }
    memset(sums, 0, sizeof(vec) * weight_sums_needed(o));
    for (int k = first; k < end; k++) {
        int b = turn(k, i, first, end);
        if (is_convolution(o))
            backward_convolution(r, i, b, thread, sums, scratch);
        else if (o->kind == GATE)
            backward_gate(r, i, b, sums, scratch);
        else if (o->kind == UPSAMPLE)
            backward_upsample(r, i, b);
        else
            backward_elementwise(r, i, b);
    }
    if (is_convolution(o) || o->kind == GATE) finish_weight_gradients(r, i, thread, sums);
}

static void backward_pass(run *r, int thread, int tracks) {
    (void)tracks;
    int first = r->blocks * thread / r->threads, end = r->blocks * (thread + 1) / r->threads;
    for (int b = first; b < end; b++) pack_output_gradients(r, b);
    for (int i = r->count - 1; i >= 0; i--) backward_operation(r, i, thread, first, end);
    wait_for_all(r);
    if (thread == 0)
        for (int i = 0; i < r->count; i++) add_weight_gradients(r, i);
}

#endif
