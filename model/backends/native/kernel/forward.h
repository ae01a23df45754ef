// The layer forward in time. Rows of a group are contiguous and every step writes one cell of the trace, so that memory is
// passed through once and in order.
#pragma once
#include <memory>

#include "pass.h"

template <class L>
class Forward : Pass<L> {
    using Base = Pass<L>;
    using typename Base::C;
    using typename Base::F;
    using typename Base::V;
    using Base::l, Base::b0, Base::cols, Base::groups, Base::threads, Base::sources, Base::cell, Base::meeting;
    using Base::NP, Base::NB, Base::LB, Base::W, Base::COLS, Base::CV;

public:
    Forward(const Layer &layer, int64_t first, int64_t columns, F *trace)
        : Base(layer, first, columns, trace), keep_(groups * l.d_m * NP), gain_(groups * l.d_m * NP),
          readout_(groups * l.d_m * NP), out_bias_(groups * NP), memory_(groups * l.d_m * LB), average_(groups * LB),
          branch_(l.traced ? groups * l.d_tree * LB : 0), magnitude_(groups * LB), u_(2 * sources * COLS) {
        for (int i = 0; i < l.matrices; i++) {
            weight_.emplace_back(new Buffer<F>(groups * l.dims[i] * l.dims[i + 1] * NP));
            bias_.emplace_back(new Buffer<F>(groups * l.dims[i + 1] * NP));
            widest_ = widest_ > l.dims[i + 1] ? widest_ : l.dims[i + 1];
        }
    }

    void run() {
        prepare();
        in_team(threads, [this](int thread) { run_thread(thread); });
        finish();
    }

private:
    Buffer<F> keep_, gain_, readout_, out_bias_;  // packed weights
    std::vector<std::unique_ptr<Buffer<F>>> weight_, bias_;
    Buffer<F> memory_, average_, branch_, magnitude_;  // state and sums, rows of every group
    // [2, sources, COLS]: what synapses read in this step and the next. Two in turn, because a group writes its activity of
    // the next step while other threads still gather from this one; so one meeting a step is enough.
    Buffer<F> u_;
    int64_t widest_ = 1;

    void prepare() {
        for (int i = 0; i < l.matrices; i++) {
            this->pack_transposed(l.weight[i], l.dims[i + 1], l.dims[i], weight_[i]->get());
            this->pack(l.bias[i], l.dims[i + 1], bias_[i]->get());
        }
        this->pack(l.keep, l.d_m, keep_.get());
        this->pack(l.absorb, l.d_m, gain_.get(), F(l.tanh_height));
        this->pack(l.readout, l.d_m, readout_.get());
        this->pack(l.out_bias, 1, out_bias_.get());
        this->load_rows(l.memory_0, l.d_m, memory_.get());
        if (l.filtered) this->load_rows(l.average_0, 1, average_.get());
        if (l.traced) this->load_rows(l.branch_0, l.d_tree, branch_.get());
    }

    void finish() {
        this->store_rows(memory_.get(), l.d_m, l.memory_T);
        if (l.filtered) this->store_rows(average_.get(), 1, l.average_T);
        if (l.traced) this->store_rows(branch_.get(), l.d_tree, l.branch_T);
        F *magnitude = static_cast<F *>(l.magnitude);
        if (!magnitude) return;
        for (int64_t n = 0; n < l.n; n++)
            for (int64_t b = 0; b < cols; b++)
                magnitude[n * l.batch + b0 + b] = magnitude_.get()[n / NP * LB + b * NP + n % NP];
    }

    void run_thread(int thread) {
        const int64_t first = this->share(l.n_in, thread), last = this->share(l.n_in, thread + 1);
        this->read_input(0, first, last, u_at(0), COLS);
        if (thread == 0 && l.recurrent) this->read_activity(0, 0, l.n, u_at(0) + l.n_in * COLS, COLS);
        Buffer<F> scratch(2 * widest_ * LB);  // each thread its own: what one layer of an MLP makes, and what the next reads
        meeting.wait();
        for (int64_t t = 0; t < l.steps; t++) {
            for (int64_t g = this->share(groups, thread); g < this->share(groups, thread + 1); g++)
                step(g, t, scratch.get(), scratch.get() + widest_ * LB);
            // before the meeting, which then says that activity and input of the next step are both there
            if (t + 1 < l.steps) this->read_input(t + 1, first, last, u_at(t + 1), COLS);
            meeting.wait();
        }
    }

    F *u_at(int64_t t) const { return u_.get() + t % 2 * sources * COLS; }

    void step(int64_t g, int64_t t, F *even, F *odd) {
        F *signal = this->cell_at(g, t);
        if (l.stored && g + 1 < groups) prefetch<true>(this->cell_at(g + 1, t), cell.count * LB);
        gather(g, t, signal);
        // beside the branch sums: the first product then reads one run of rows, and so does the backward pass
        F *memory = memory_.get() + g * l.d_m * LB;
        for (int d = 0; d < l.d_m; d++)
            for (int i = 0; i < LB; i += W)
                L::store(signal + (l.d_tree + d) * LB + i,
                         L::spread(keep_.get() + (g * l.d_m + d) * NP) * L::load(memory + d * LB + i));
        const F *in = signal;
        F *hidden = signal + cell.hidden * LB;
        for (int layer = 0; layer + 1 < l.matrices; layer++) {
            int K = int(l.dims[layer]), M = int(l.dims[layer + 1]);
            F *squared = layer % 2 ? odd : even;
            product<L>(weight_[layer]->get() + g * K * M * NP, in, K, M, bias_of(layer, g, M),
                       [&](int m, V(&acc)[NB]) {
                           for (int i = 0; i < NB; i++) {
                               V h = L::positive(acc[i]);  // kept unsquared: the derivative of h^2 wants h
                               L::store(hidden + m * LB + i * W, h);
                               L::store(squared + m * LB + i * W, h * h);
                           }
                       });
            in = squared;
            hidden += M * LB;
        }
        int last = int(l.matrices) - 1, K = int(l.dims[last]);
        F *out = last % 2 ? odd : even;
        product<L>(weight_[last]->get() + g * K * l.d_m * NP, in, K, int(l.d_m), bias_of(last, g, l.d_m),
                   [&](int m, V(&acc)[NB]) {
                       for (int i = 0; i < NB; i++) L::store(out + m * LB + i * W, acc[i]);
                   });
        update(g, t, signal, out);
    }

    auto bias_of(int layer, int64_t g, int64_t M) const {
        const F *bias = bias_[layer]->get() + g * M * NP;
        return [bias](int m, V(&acc)[NB]) {
            for (int i = 0; i < NB; i++) acc[i] = L::spread(bias + m * NP);
        };
    }

    // branch sums of a group, from what its synapses read
    void gather(int64_t g, int64_t t, F *signal) {
        const F *from = u_at(t);
        int64_t r = 0;
        for (; r + 4 <= l.d_tree; r += 4) gather_branches<4>(g, r, from, signal);
        for (; r < l.d_tree; r++) gather_branches<1>(g, r, from, signal);
        if (!l.traced) return;
        F *trace = branch_.get() + g * l.d_tree * LB;
        for (int64_t at = 0; at < l.d_tree * LB; at += W) {
            V now = L::load(signal + at) + F(l.kappa_b) * L::load(trace + at);
            L::store(signal + at, now);
            L::store(trace + at, now);
        }
    }

    // several branches at once, so that their additions need not wait for each other
    template <int RT>
    void gather_branches(int64_t g, int64_t r, const F *from, F *signal) const {
        constexpr int width = sizeof(C) / sizeof(F);
        const int64_t S = l.d_branch;
        C sums[RT][NP][CV] = {};  // neurons apart: those of a pair read different sources
        for (int p = 0; p < NP && this->real(g * NP + p); p++) {
            const int64_t first = ((g * NP + p) * l.d_tree + r) * S;
            const F *weights = static_cast<const F *>(l.synapse) + first;
            const int32_t *source = l.source + first;
            C acc[RT][CV] = {};
            for (int64_t s = 0; s < S; s++)
                for (int j = 0; j < RT; j++) {
                    const F *row = from + int64_t(source[j * S + s]) * COLS;
                    for (int i = 0; i < CV; i++) acc[j][i] += weights[j * S + s] * L::load_columns(row + i * width);
                }
            for (int j = 0; j < RT; j++)
                // one product a branch instead of one a synapse
                for (int i = 0; i < CV; i++) sums[j][p][i] = F(l.input_scale) * acc[j][i];
        }
        for (int j = 0; j < RT; j++) L::join(sums[j], signal + (r + j) * LB);
    }

    // memory, output and activity of a group, from its MLPs' outputs
    void update(int64_t g, int64_t t, F *signal, const F *out) {
        V y[NB] = {};
        for (int d = 0; d < l.d_m; d++)
            for (int i = 0; i < NB; i++) {
                const int64_t at = d * LB + i * W, packed = (g * l.d_m + d) * NP;
                V o = L::load(out + at), *sum = reinterpret_cast<V *>(magnitude_.get() + g * LB + i * W);
                *sum += L::magnitude(o);  // for the regulariser, here: nothing else needs o again
                V tanh = L::tanh(F(l.tanh_slope) * o);
                L::store(signal + cell.tanh * LB + at, tanh);
                V m = L::load(signal + l.d_tree * LB + at) + L::spread(gain_.get() + packed) * tanh;
                L::store(memory_.get() + g * l.d_m * LB + at, m);
                y[i] += L::spread(readout_.get() + packed) * m;
            }
        if (l.mlp_out) keep_mlp_out(g, t, out);
        alignas(64) F row[LB];
        for (int i = 0; i < NB; i++) {
            V z = y[i];
            if (l.filtered) {
                // r' = kappa r + (1 - kappa) y gives y - r' = kappa (y - r): the old average is enough
                V *average = reinterpret_cast<V *>(average_.get() + g * LB + i * W);
                V gap = y[i] - *average;
                *average += F(1.0 - l.kappa_r) * gap;
                z = F(l.kappa_r) * gap;
            }
            z += L::spread(out_bias_.get() + g * NP);
            L::store(row + i * W, l.rectified ? L::positive(z) : z);
        }
        emit(g, t, row);
    }

    void emit(int64_t g, int64_t t, const F *row) const {
        for (int p = 0; p < NP && this->real(g * NP + p); p++) {
            const int64_t n = g * NP + p;
            C columns[CV];
            L::part(row, p, columns);
            if (l.batch_first) {
                F *to = static_cast<F *>(l.activity) + (b0 * l.steps + t) * l.n + n;
                for (int64_t b = 0; b < cols; b++) to[b * l.steps * l.n] = row[b * NP + p];
            } else {
                this->store_part(columns, static_cast<F *>(l.activity) + (t * l.n + n) * l.batch);
            }
            if (l.activity_T && t + 1 == l.steps)
                for (int64_t b = 0; b < cols; b++) static_cast<F *>(l.activity_T)[(b0 + b) * l.n + n] = row[b * NP + p];
            if (!l.recurrent) continue;
            // the activity that is returned is the one without mask; only the neuron's readers see the mask
            F *next = u_at(t + 1) + (l.n_in + n) * COLS;
            constexpr int width = sizeof(C) / sizeof(F);
            for (int i = 0; i < CV; i++) L::store_columns(next + i * width, columns[i]);
            if (l.recurrent_mask)
                for (int64_t b = 0; b < cols; b++) next[b] *= this->mask_at(b, n);
        }
    }

    void keep_mlp_out(int64_t g, int64_t t, const F *out) const {
        F *to = static_cast<F *>(l.mlp_out);
        for (int p = 0; p < NP && this->real(g * NP + p); p++)
            for (int64_t b = 0; b < cols; b++)
                for (int d = 0; d < l.d_m; d++)
                    to[(((b0 + b) * l.steps + t) * l.n + g * NP + p) * l.d_m + d] = out[d * LB + b * NP + p];
    }
};
