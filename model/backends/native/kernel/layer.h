// What Python hands over: one layer of ELM neurons and one segment of a sequence. Mirrored by model/backends/native/abi.py.
#pragma once
#include <cstdint>

constexpr int kMaxMatrices = 9;

struct Layer {
    // sizes
    int64_t n, d_m, d_tree, d_branch, n_in, matrices, steps, batch, threads;
    int64_t dims[kMaxMatrices + 1];  // the MLP's matrices map dims[i] to dims[i + 1]
    // switches
    int64_t recurrent;   // synapses may also read the layer's own previous activity, as sources n_in .. n_in + n - 1
    int64_t rectified;   // the activation function is relu, else identity
    int64_t filtered;    // the output is high-passed
    int64_t traced;      // branches have traces
    int64_t stored;      // forward keeps what backward needs
    int64_t input_kind;  // 0: ids [B, T], int64; 1: values [B, T, I]; 2: values [T, I, B]
    int64_t batch_first;  // activity and d_activity are [B, T, N], else [T, N, B]
    int64_t input_grad;  // backward fills d_x, [T, I, B]
    int64_t rate_grads;  // backward fills d_keep and d_absorb
    // constants
    double input_scale, embedding_scale, kappa_r, kappa_b, tanh_slope, tanh_height;
    // wiring
    const int32_t *source;   // [N, C] what every synapse reads
    const int32_t *readers;  // branches (n * R + r) that read each source which gets a gradient, source by source
    const int32_t *reader_synapse;  // the synapses they read with, counted through [N, C]
    const int64_t *first_reader;  // where each source's readers begin, and the end of the last
    // weights
    const void *synapse;                                      // [N, C]
    const void *weight[kMaxMatrices], *bias[kMaxMatrices];    // [N, out, in], [N, out]
    const void *keep, *absorb, *readout, *out_bias;           // [N, D], [N, D], [N, D], [N]
    // input, dropout masks (null: none) and start state
    const void *x;
    const void *input_mask;      // [B, I]
    const void *recurrent_mask;  // [B, N]
    const void *activity_0, *memory_0, *average_0, *branch_0;  // [B, N], [B, N, D], [B, N], [B, N, R]; null: zeros
    // results
    void *activity;                                        // see batch_first
    void *activity_T;                                      // like the start state, or null
    void *memory_T, *average_T, *branch_T;                 // like the start state
    void *magnitude;                                       // [N, B] sum over time and memory of abs(o)
    void *mlp_out;                                         // [B, T, N, D] or null
    void *trace;                                           // see trace_size
    // gradients of the results, null where there is none
    const void *d_activity, *d_activity_T, *d_memory_T, *d_average_T, *d_branch_T, *d_magnitude;
    double d_any_activity;  // that every activity gets on top
    // gradients to be made
    void *d_synapse, *d_weight[kMaxMatrices], *d_bias[kMaxMatrices], *d_keep, *d_absorb, *d_readout, *d_out_bias;
    void *d_activity_0, *d_memory_0, *d_average_0, *d_branch_0;  // null where not wanted
    void *d_x;
};
