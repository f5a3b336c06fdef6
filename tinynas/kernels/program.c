// A network's forward and backward pass in training, as a program of operations on maps.
//
// The output of a convolution is kept as it is, before batch norm; whoever reads it applies norm and activation. Maps
// that several operations read, the inputs and outputs of blocks, are computed as sums. The backward pass keeps, for
// each convolution, the gradient behind its norm, and its sums over the batch, from which the next kernel computes the
// gradient before the norm as it reads. Gradients of parameters are added to the given tensors.
//
// Threads share out the blocks of images, and wait for each other where statistics of the batch are needed. Statistics
// are added up in the order of the blocks, so that they do not depend on the number of threads.
#include <pthread.h>
#include <sys/mman.h>

#include "backward.h"

int lanes(void) { return LANES; }
long operation_size(void) { return sizeof(operation); }

typedef struct {
    run *run;
    int thread, tracks;
    void (*pass)(run *, int thread, int tracks);
} task;

static void *start(void *argument) {
    task *t = argument;
    while (!atomic_load(&t->run->begun)) sched_yield();
    t->pass(t->run, t->thread, t->tracks);
    return NULL;
}

// Runs a pass in as many threads as can be started.
static void run_pass(run *r, void (*pass)(run *, int, int), int tracks) {
    pthread_t threads[r->threads];
    task tasks[r->threads];
    int started = 1;
    for (; started < r->threads; started++) {
        tasks[started] = (task){r, started, tracks, pass};
        if (pthread_create(threads + started, NULL, start, tasks + started)) break;
    }
    r->threads = started;
    atomic_store(&r->begun, 1);
    pass(r, 0, tracks);
    for (int t = 1; t < started; t++) pthread_join(threads[t], NULL);
}

// Asks for large pages of memory, which are faster to get and to find, where the system has them on request.
static void prefer_large_pages(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
    uintptr_t page = 4096, start = (uintptr_t)memory;
    uintptr_t first = (start + page - 1) / page * page, end = (start + bytes) / page * page;
    if (end > first) madvise((void *)first, end - first, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

static run make_run(const operation *ops, int count, int batch, int threads, const int64_t *outputs, int num_outputs,
                    state *states, void *memory) {
    int blocks = (batch + LANES - 1) / LANES;
    run r = {.ops = ops, .count = count, .batch = batch, .blocks = blocks, .states = states};
    r.threads = threads < blocks ? threads : blocks;
    r.outputs = outputs;
    r.num_outputs = num_outputs;
    r.keeps = 1;
    r.memory = memory ? memory : (char *)64;
    memset(states, 0, sizeof(state) * count);
    for (int i = 0; i < count; i++) states[i].buffer = -1;
    return r;
}

// Bytes of memory that a forward pass needs, and a backward pass besides. Without `keeps` there is no backward pass.
long forward_size(const operation *ops, int count, int batch, int threads, int keeps, const int64_t *outputs,
                  int num_outputs) {
    state states[count];
    run r = make_run(ops, count, batch, threads, outputs, num_outputs, states, NULL);
    r.keeps = keeps;
    plan_forward(&r);
    return (long)r.used;
}

long backward_size(const operation *ops, int count, int batch, int threads, const int64_t *outputs, int num_outputs) {
    state states[count];
    vec *buffers[2 * count];
    int users[2 * count];
    run r = make_run(ops, count, batch, threads, outputs, num_outputs, states, NULL);
    plan_backward(&r, buffers, users);
    return (long)r.used;
}

// Runs the forward pass on images (batch, channels, height, width). `tracks`: updates the running statistics. `memory`,
// of forward_size bytes and aligned to 64, has all that the backward pass needs if it `keeps` that. `maps`: the outputs
// (batch, channels, height, width) are written there.
void forward(const operation *ops, int count, int batch, int threads, float **values, const float *images, int tracks,
             int keeps, void *memory, const int64_t *outputs, float **maps, int num_outputs) {
    state states[count];
    run r = make_run(ops, count, batch, threads, outputs, num_outputs, states, memory);
    r.keeps = keeps;
    r.values = values;
    r.images = images;
    r.results = maps;
    plan_forward(&r);
    prefer_large_pages(memory, r.used);
    for (int i = 0; i < count; i++) gather_weights(&r, ops + i, states + i);
    run_pass(&r, forward_pass, tracks);
}

// Adds the gradients of all parameters to `gradients`, given those of the outputs (batch, channels, height, width).
// `kept`: the forward pass's memory; `memory`: of backward_size bytes.
void backward(const operation *ops, int count, int batch, int threads, float **values, float **gradients, void *kept,
              void *memory, const int64_t *outputs, float **output_gradients, int num_outputs) {
    state states[count];
    vec *buffers[2 * count];
    int users[2 * count];
    run r = make_run(ops, count, batch, threads, outputs, num_outputs, states, kept);
    r.values = values;
    r.gradients = gradients;
    r.results = output_gradients;
    plan_forward(&r);
    for (int i = 0; i < count; i++) set_squeeze(ops + i, states + i);
    r.memory = memory;
    r.used = 0;
    plan_backward(&r, buffers, users);
    prefer_large_pages(memory, r.used);
    run_pass(&r, backward_pass, 0);
}

// The evaluation of a batch with running statistics: every thread runs all operations on one block after the other, so
// that maps stay in its cache.
typedef struct {
    const run *whole;
    int thread;
} evaluation;

// Bytes of memory of a thread.
static long evaluation_memory(const operation *ops, int count, const int64_t *outputs, int num_outputs) {
    return forward_size(ops, count, LANES, 1, 0, outputs, num_outputs);
}

static void *evaluate_blocks(void *argument) {
    const evaluation *e = argument;
    const run *w = e->whole;
    long memory = evaluation_memory(w->ops, w->count, w->outputs, w->num_outputs);
    state states[w->count];
    run r = make_run(w->ops, w->count, LANES, 1, w->outputs, w->num_outputs, states, w->memory + memory * e->thread);
    r.keeps = 0;
    r.values = w->values;
    r.results = w->results;
    plan_forward(&r);
    int channels = 1;
    for (int i = 0; i < w->count; i++) {
        gather_weights(&r, w->ops + i, states + i);
        if (is_convolution(w->ops + i)) set_running_norm(&r, w->ops + i, states + i);
        if (w->ops[i].outputs > channels) channels = (int)w->ops[i].outputs;
    }
    moments stats[channels];
    int first = w->blocks * e->thread / w->threads, end = w->blocks * (e->thread + 1) / w->threads;
    for (int b = first; b < end; b++) {
        r.batch = live_count(w, b);
        r.images = w->images + b * LANES * image_size(w->ops);
        pack_images(&r, 0);
        for (int i = 0; i < w->count; i++) forward_block(&r, i, 0, stats, r.scratch);
        unpack_outputs(&r, 0, b);
    }
    return NULL;
}

long evaluation_size(const operation *ops, int count, int threads, const int64_t *outputs, int num_outputs) {
    return evaluation_memory(ops, count, outputs, num_outputs) * threads;
}

// Runs the network on images as in `forward`, its norms with running statistics. `memory`: of evaluation_size bytes.
// `maps`: the outputs are written there.
void evaluate(const operation *ops, int count, int batch, int threads, float **values, const float *images,
              void *memory, const int64_t *outputs, float **maps, int num_outputs) {
    state states[count];
    run r = make_run(ops, count, batch, threads, outputs, num_outputs, states, memory);
    r.values = values;
    r.images = images;
    r.results = maps;
    evaluation parts[r.threads];
    pthread_t others[r.threads];
    int is_started[r.threads];
    for (int t = r.threads - 1; t >= 0; t--) {
        parts[t] = (evaluation){&r, t};
        is_started[t] = t > 0 && !pthread_create(others + t, NULL, evaluate_blocks, parts + t);
        if (!is_started[t]) evaluate_blocks(parts + t);
    }
    for (int t = 1; t < r.threads; t++)
        if (is_started[t]) pthread_join(others[t], NULL);
}
