// Weight gradients of a chunk of steps at once: sums over lanes are dear, so they come once a chunk and not once a step.
#pragma once
#include <algorithm>

#include "pass.h"

// What the loop of backward.h leaves of every step, and the sums over it.
template <class L>
class WeightGrads : protected Pass<L> {
    using Base = Pass<L>;

public:
    using typename Base::C;
    using typename Base::F;
    using typename Base::V;

protected:
    using Base::l, Base::groups, Base::threads, Base::sources, Base::cell;
    using Base::NP, Base::NB, Base::LB, Base::W, Base::COLS, Base::CV;

    // Steps whose weight gradients are summed at once: many, for a sum over lanes ends each, but not so many that what the
    // synapses read in them outgrows the second cache.
    static int64_t chunk_steps(int64_t sources) {
        constexpr int64_t most_lanes = 512, most_bytes = 3 << 18;  // 768 KiB, of a second cache of 1 MiB
        return std::clamp<int64_t>(most_bytes / (sources * COLS * int64_t(sizeof(F))), 8, most_lanes / LB);
    }

    WeightGrads(const Layer &layer, int64_t first, int64_t columns, F *trace)
        : Base(layer, first, columns, trace), chunk_(chunk_steps(sources)), hidden_(l.d_tree),
          out_(hidden_ + (cell.tanh - cell.hidden)), rows_(out_ + l.d_m),
          grads_(std::min(chunk_, l.steps) * grads_stride()), wide_(sources * chunk_ * COLS) {}

    const int64_t chunk_;                // steps of a chunk
    const int64_t hidden_, out_, rows_;  // rows of a cell of grads_: R branch sums, hidden units, D MLP outputs
    Buffer<F> grads_;  // [steps of the chunk, step_rows, LB], a step's rows being [G, rows_]
    Buffer<F> wide_;   // [sources, steps of the chunk, COLS]: what synapses read

    int64_t grads_stride() const { return Base::step_rows(groups, rows_) * LB; }
    F *grads_at(int64_t g, int64_t i) const { return grads_.get() + i * grads_stride() + g * rows_ * LB; }

    // what synapses read, with the steps of a chunk side by side
    void widen(int64_t first, int64_t last, int thread) const {
        constexpr int64_t kBlock = 64;  // sources in turn, so that both sides are read and written in runs
        const auto share = [&](int64_t count, int64_t row, auto read) {
            const int64_t end = this->share(count, thread + 1);
            for (int64_t from = this->share(count, thread); from < end; from += kBlock)
                for (int64_t t = first; t < last; t++)
                    read(t, from, std::min(from + kBlock, end), wide_.get() + (row * chunk_ + t - first) * COLS);
        };
        const int64_t stride = chunk_ * COLS;
        share(l.n_in, 0, [&](int64_t t, int64_t i, int64_t end, F *to) { this->read_input(t, i, end, to, stride); });
        if (l.recurrent)
            share(l.n, l.n_in, [&](int64_t t, int64_t n, int64_t end, F *to) {
                this->read_activity(t, n, end, to, stride);
            });
    }

    // weight[m][k] += sum of (gradient of row m) * (row k that it read), matrix by matrix of a group's MLPs
    void sum_weights(int64_t g, int64_t first, int64_t last) const {
        const int steps = int(last - first);
        const Rows<F> signal{this->cell_at(g, first), this->cell_stride()};
        const Rows<F> grads{grads_at(g, 0), grads_stride()};
        int64_t row = hidden_;
        for (int i = 0; i < l.matrices; i++) {
            const int M = int(l.dims[i + 1]), K = int(l.dims[i]);
            const Rows<F> a{grads.data + (i + 1 == l.matrices ? out_ : row) * LB, grads.stride};
            F *weight[NP], *bias[NP];
            for (int p = 0; p < NP; p++) {
                const int64_t n = g * NP + p;
                weight[p] = this->real(n) ? static_cast<F *>(l.d_weight[i]) + n * M * K : nullptr;
                bias[p] = this->real(n) ? static_cast<F *>(l.d_bias[i]) + n * M : nullptr;
            }
            // later layers read squares, but the trace holds the rectified units: they are squared again on the way
            if (i == 0) {
                outer<L, false>(a, signal, steps, M, K, weight);
            } else {
                const Rows<F> hidden{signal.data + (cell.hidden + row - hidden_ - K) * LB, signal.stride};
                outer<L, true>(a, hidden, steps, M, K, weight);
            }
            sum_rows_of(a, steps, M, bias);
            row += M;
        }
        sum_synapses(g, grads, steps);
    }

    void sum_rows_of(Rows<F> a, int steps, int M, F *const (&out)[NP]) const {
        for (int m = 0; m < M; m++) {
            V sum{};
            for (int t = 0; t < steps; t++)
                for (int i = 0; i < NB; i++) sum += L::load(a.data + t * a.stride + m * LB + i * W);
            F sums[NP];
            L::sum_columns(sum, sums);
            for (int p = 0; p < NP; p++)
                if (out[p]) out[p][m] += sums[p];
        }
    }

    // One branch after the other: its gradient in all steps is brought into one run, which four synapses then share.
    void sum_synapses(int64_t g, Rows<F> grads, int steps) const {
        const int length = steps * COLS, padded = (length + W - 1) / W * W;
        Buffer<F> branch(padded);  // zero beyond length, where wide_ holds what an earlier chunk left
        for (int64_t r = 0; r < l.d_tree; r++)
            for (int p = 0; p < NP && this->real(g * NP + p); p++) {
                for (int t = 0; t < steps; t++) {
                    C part[CV];
                    L::part(grads.data + t * grads.stride + r * LB, p, part);
                    std::memcpy(branch.get() + t * COLS, part, sizeof part);
                }
                const int64_t first = ((g * NP + p) * l.d_tree + r) * l.d_branch;
                F *to = static_cast<F *>(l.d_synapse) + first;
                int64_t s = 0;
                for (; s + 4 <= l.d_branch; s += 4) sampled<4>(branch.get(), padded, l.source + first + s, to + s);
                for (; s < l.d_branch; s++) sampled<1>(branch.get(), padded, l.source + first + s, to + s);
            }
    }

    // gradients of N synapses: inner products of their branch's gradient with what they read
    template <int N>
    void sampled(const F *branch, int padded, const int32_t *source, F *to) const {
        using Full = Lanes<F, 1, 1>;  // here all lanes belong to one neuron, also where a row holds two
        const F *from[N];
        for (int s = 0; s < N; s++) from[s] = wide_.get() + int64_t(source[s]) * chunk_ * COLS;
        V acc[N] = {};
        for (int at = 0; at < padded; at += W) {
            V grad = L::load(branch + at);
            for (int s = 0; s < N; s++) acc[s] += grad * L::load(from[s] + at);
        }
        for (int s = 0; s < N; s++) {
            F sum[1];
            Full::sum_columns(acc[s], sum);
            to[s] += F(l.input_scale) * sum[0];  // the scale once a chunk, not once a column
        }
    }
};
