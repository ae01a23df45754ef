// The layer backward in time: a loop over steps for what flows between them. What does not flow between them, the weight
// gradients, is summed for a chunk of steps at once, in weight_grads.h.
#pragma once
#include <memory>

#include "weight_grads.h"

template <class L>
class Backward : WeightGrads<L> {
    using Base = WeightGrads<L>;
    using typename Base::C;
    using typename Base::F;
    using typename Base::V;
    using Base::l, Base::b0, Base::cols, Base::groups, Base::threads, Base::sources, Base::cell, Base::meeting;
    using Base::NP, Base::NB, Base::LB, Base::W, Base::COLS, Base::CV;
    using Base::chunk_, Base::hidden_, Base::out_, Base::rows_, Base::grads_at;

public:
    Backward(const Layer &layer, int64_t first, int64_t columns, F *trace)
        : Base(layer, first, columns, trace),
          graded_(l.recurrent ? l.n : l.input_grad ? l.n_in : 0),
          keep_(groups * l.d_m * NP), slope_(groups * l.d_m * NP), gain_(groups * l.d_m * NP),
          readout_(groups * l.d_m * NP), memory_(groups * l.d_m * LB), average_(groups * LB),
          branch_(l.traced ? groups * l.d_tree * LB : 0), regulariser_grad_(l.d_magnitude ? groups * LB : 0),
          memory_0_(l.rate_grads ? groups * l.d_m * LB : 0), sums_(groups * sum_rows() * LB),
          branch_grads_(graded_ ? l.n * l.d_tree * COLS : 0), source_grads_(l.recurrent ? l.n * COLS : 0),
          reader_weight_(graded_ ? l.first_reader[graded_] : 0) {
        for (int i = 0; i < l.matrices; i++)
            weight_.emplace_back(new Buffer<F>(groups * l.dims[i] * l.dims[i + 1] * NP));
    }

    void run() {
        prepare();
        in_team(threads, [this](int thread) { run_thread(thread); });
        finish();
    }

private:
    const int64_t graded_;  // sources that get a gradient: the layer's own activity, or its input
    Buffer<F> keep_, slope_, gain_, readout_;  // packed weights; slope is gain times tanh_slope
    std::vector<std::unique_ptr<Buffer<F>>> weight_;
    Buffer<F> memory_, average_, branch_;  // gradients of the state, carried back
    Buffer<F> regulariser_grad_, memory_0_;  // of the sum of abs(o), the same in every step; the start state
    Buffer<F> sums_;  // rows of every group summed over time, lanes apart until `finish`: bias, D read-out, D keep, D gain
    Buffer<F> branch_grads_;  // [N, R, COLS]: of what the branches add up, in this step
    Buffer<F> source_grads_;  // [N, COLS]: of the activity that the step after this one reads
    Buffer<F> reader_weight_;  // weights of the synapses of `readers`

    int64_t sum_rows() const { return 1 + (l.rate_grads ? 3 : 1) * l.d_m; }

    // blocks of batch columns add to the same weight gradients one after the other; the first one clears them
    void zero_weight_grads() const {
        const auto zero = [&](void *to, int64_t count) { std::memset(to, 0, l.n * count * sizeof(F)); };
        zero(l.d_synapse, l.d_tree * l.d_branch);
        for (int i = 0; i < l.matrices; i++) {
            zero(l.d_weight[i], l.dims[i] * l.dims[i + 1]);
            zero(l.d_bias[i], l.dims[i + 1]);
        }
        zero(l.d_readout, l.d_m);
        if (l.rate_grads) zero(l.d_keep, l.d_m), zero(l.d_absorb, l.d_m);
        zero(l.d_out_bias, 1);
    }

    void prepare() {
        if (b0 == 0) zero_weight_grads();
        for (int i = 0; i < l.matrices; i++)
            this->pack(l.weight[i], l.dims[i] * l.dims[i + 1], weight_[i]->get());
        this->pack(l.keep, l.d_m, keep_.get());
        this->pack(l.absorb, l.d_m, gain_.get(), F(l.tanh_height));
        this->pack(l.absorb, l.d_m, slope_.get(), F(l.tanh_height * l.tanh_slope));
        this->pack(l.readout, l.d_m, readout_.get());
        this->load_rows(l.d_memory_T, l.d_m, memory_.get());
        if (l.filtered) this->load_rows(l.d_average_T, 1, average_.get());
        if (l.traced) this->load_rows(l.d_branch_T, l.d_tree, branch_.get());
        if (l.rate_grads) this->load_rows(l.memory_0, l.d_m, memory_0_.get());
        for (int64_t k = 0; graded_ && k < l.first_reader[graded_]; k++)
            reader_weight_.get()[k] = static_cast<const F *>(l.synapse)[l.reader_synapse[k]];
        if (!l.d_magnitude) return;
        const F *magnitude = static_cast<const F *>(l.d_magnitude);
        for (int64_t n = 0; n < l.n; n++)
            for (int64_t b = 0; b < cols; b++)
                regulariser_grad_.get()[n / NP * LB + b * NP + n % NP] = magnitude[n * l.batch + b0 + b];
    }

    void finish() {
        this->store_rows(memory_.get(), l.d_m, l.d_memory_0);
        if (l.filtered) this->store_rows(average_.get(), 1, l.d_average_0);
        if (l.traced) this->store_rows(branch_.get(), l.d_tree, l.d_branch_0);
        for (int64_t n = 0; n < l.n; n++) {
            add_sum(n, 0, static_cast<F *>(l.d_out_bias) + n);
            for (int64_t d = 0; d < l.d_m; d++) {
                add_sum(n, 1 + d, static_cast<F *>(l.d_readout) + n * l.d_m + d);
                if (!l.rate_grads) continue;
                add_sum(n, 1 + l.d_m + d, static_cast<F *>(l.d_keep) + n * l.d_m + d);
                add_sum(n, 1 + 2 * l.d_m + d, static_cast<F *>(l.d_absorb) + n * l.d_m + d, F(l.tanh_height));
            }
        }
        F *to = static_cast<F *>(l.d_activity_0);
        if (!l.recurrent || !to) return;
        for (int64_t b = 0; b < cols; b++)
            for (int64_t n = 0; n < l.n; n++)
                to[(b0 + b) * l.n + n] = source_grads_.get()[n * COLS + b] * this->mask_at(b, n);
    }

    // columns that pad the batch hold zeros in every row, so a sum over all lanes needs no mask
    void add_sum(int64_t n, int64_t row, F *to, F factor = 1) const {
        F sums[NP] = {};
        for (int i = 0; i < LB; i += W) {
            F part[NP];
            L::sum_columns(L::load(sums_.get() + (n / NP * sum_rows() + row) * LB + i), part);
            for (int p = 0; p < NP; p++) sums[p] += part[p];
        }
        *to += factor * sums[n % NP];
    }

    void run_thread(int thread) {
        // chunks begin at multiples of their length, so that only the latest can be shorter
        const int64_t first_group = this->share(groups, thread), last_group = this->share(groups, thread + 1);
        for (int64_t last = l.steps; last > 0; last = (last - 1) / chunk_ * chunk_) {
            const int64_t first = (last - 1) / chunk_ * chunk_;
            for (int64_t t = last - 1; t >= first; t--) {
                for (int64_t g = first_group; g < last_group; g++) step(g, t, first);
                meeting.wait();  // branch gradients of all groups are there
                for (int64_t i = this->share(graded_, thread); i < this->share(graded_, thread + 1); i++)
                    sum_readers(t, i);
                meeting.wait();  // and now what the step before gets from this one
            }
            this->widen(first, last, thread);
            meeting.wait();
            for (int64_t g = first_group; g < last_group; g++) this->sum_weights(g, first, last);
        }
    }

    // gradient of one source, gathered from the branches that read it: branches that added to their sources would write
    // to the same places from several threads, and the order of the sums would depend on the threads
    void sum_readers(int64_t t, int64_t i) const {
        constexpr int width = sizeof(C) / sizeof(F);
        const F *weights = reader_weight_.get(), *from = branch_grads_.get();
        const int64_t last = l.first_reader[i + 1];
        C even[CV] = {}, odd[CV] = {};  // two sums, so that an addition need not wait for the one before
        int64_t k = l.first_reader[i];
        for (; k + 2 <= last; k += 2)
            for (int v = 0; v < CV; v++) {
                even[v] += weights[k] * L::load_columns(from + int64_t(l.readers[k]) * COLS + v * width);
                odd[v] += weights[k + 1] * L::load_columns(from + int64_t(l.readers[k + 1]) * COLS + v * width);
            }
        for (int v = 0; v < CV; v++) {
            if (k < last) even[v] += weights[k] * L::load_columns(from + int64_t(l.readers[k]) * COLS + v * width);
            even[v] += odd[v];
        }
        if (l.recurrent) {
            for (int v = 0; v < CV; v++) L::store_columns(source_grads_.get() + i * COLS + v * width, even[v]);
        } else {
            if (l.input_mask)
                for (int v = 0; v < CV; v++) even[v] *= L::load_columns(this->input_mask_.get() + i * COLS + v * width);
            this->store_part(even, static_cast<F *>(l.d_x) + (t * l.n_in + i) * l.batch);
        }
    }

    void step(int64_t g, int64_t t, int64_t first) {
        const F *signal = this->cell_at(g, t), *tanh = signal + cell.tanh * LB;
        F *grads = grads_at(g, t - first), *sums = sums_.get() + g * sum_rows() * LB;
        F *memory = memory_.get() + g * l.d_m * LB;
        if (g + 1 < groups) {
            prefetch<false>(this->cell_at(g + 1, t) + l.d_tree * LB, (cell.count - l.d_tree) * LB);
            prefetch<true>(grads_at(g + 1, t - first), rows_ * LB);
        }
        V y[NB];
        output_grad(g, t, sums, y);
        for (int d = 0; d < l.d_m; d++)
            for (int i = 0; i < NB; i++) {
                const int64_t at = d * LB + i * W, packed = (g * l.d_m + d) * NP;
                V th = L::load(tanh + at);
                // the memory is made again from what the trace holds, which so needs D rows less
                V m = L::load(signal + l.d_tree * LB + at) + L::spread(gain_.get() + packed) * th;
                L::store(sums + LB + at, L::load(sums + LB + at) + y[i] * m);
                V dm = L::load(memory + at) + L::spread(readout_.get() + packed) * y[i];
                L::store(memory + at, dm);
                V out = dm * L::spread(slope_.get() + packed) * (L::all(1) - th * th);
                if (l.d_magnitude) out += L::sign(th) * L::load(regulariser_grad_.get() + g * LB + i * W);
                L::store(grads + out_ * LB + at, out);
                if (l.rate_grads) {
                    F *gain = sums + (1 + 2 * l.d_m) * LB + at;
                    L::store(gain, L::load(gain) + dm * th);
                }
            }
        mlp_grads(g, t, signal, grads, sums, memory);
        if (graded_) share_branch_grads(g, grads);
    }

    // gradient of y, what the memory reads out to, from that of the activity; carries that of the average
    void output_grad(int64_t g, int64_t t, F *sums, V (&y)[NB]) {
        alignas(64) F row[LB];
        C parts[NP][CV] = {};
        for (int p = 0; p < NP && this->real(g * NP + p); p++) {
            const int64_t n = g * NP + p;
            arriving_grad(n, t, parts[p]);
            if (!l.rectified) continue;
            C active[CV]{};
            this->load_part(static_cast<const F *>(l.activity) + (t * l.n + n) * l.batch, active);
            // an activity that is no number compares false and lets its gradient through, as torch's relu does
            for (int i = 0; i < CV; i++) parts[p][i] = active[i] <= C{} ? C{} : parts[p][i];
        }
        L::join(parts, row);
        for (int i = 0; i < NB; i++) {
            V z = L::load(row + i * W);
            L::store(sums + i * W, L::load(sums + i * W) + z);
            y[i] = z;
            if (!l.filtered) continue;
            // z = kappa (y - r) and r' = r + (1 - kappa) (y - r), see forward.h; `carried` is the gradient of r'
            F *average = average_.get() + g * LB + i * W;
            V carried = L::load(average);
            y[i] = F(l.kappa_r) * z + F(1.0 - l.kappa_r) * carried;
            L::store(average, F(l.kappa_r) * (carried - z));
        }
    }

    // gradient of a neuron's activity: of the steps after this one, and what was handed over
    void arriving_grad(int64_t n, int64_t t, C (&grad)[CV]) const {
        constexpr int width = sizeof(C) / sizeof(F);
        if (l.recurrent && t + 1 < l.steps) {
            for (int i = 0; i < CV; i++) grad[i] = L::load_columns(source_grads_.get() + n * COLS + i * width);
            if (l.recurrent_mask)
                for (int64_t b = 0; b < cols; b++) grad[b / width][b % width] *= this->mask_at(b, n);
        }
        const F *arriving = static_cast<const F *>(l.d_activity), *last = static_cast<const F *>(l.d_activity_T);
        if (arriving && l.batch_first) {
            for (int64_t b = 0; b < cols; b++)
                grad[b / width][b % width] += arriving[((b0 + b) * l.steps + t) * l.n + n];
        } else if (arriving) {
            C columns[CV]{};
            this->load_part(arriving + (t * l.n + n) * l.batch, columns);
            for (int i = 0; i < CV; i++) grad[i] += columns[i];
        }
        if (last && t + 1 == l.steps)
            for (int64_t b = 0; b < cols; b++) grad[b / width][b % width] += last[(b0 + b) * l.n + n];
        if (l.d_any_activity == 0) return;
        // padding columns must stay zero: sums over lanes take them along
        for (int i = 0; i < CV && cols == COLS; i++) grad[i] += F(l.d_any_activity);
        for (int64_t b = 0; b < cols && cols < COLS; b++) grad[b / width][b % width] += F(l.d_any_activity);
    }

    void mlp_grads(int64_t g, int64_t t, const F *signal, F *grads, F *sums, F *memory) {
        const auto zero = [](int, V(&acc)[NB]) {
            for (int i = 0; i < NB; i++) acc[i] = V{};
        };
        const F *in = grads + out_ * LB;
        int64_t row = out_ - hidden_;
        for (int layer = int(l.matrices) - 1; layer > 0; layer--) {
            const int K = int(l.dims[layer + 1]), M = int(l.dims[layer]);
            row -= M;
            const F *hidden = signal + (cell.hidden + row) * LB;
            F *to = grads + (hidden_ + row) * LB;
            // the derivative of relu(h)^2 is 2 relu(h), which is what the trace holds
            product<L>(weight_[layer]->get() + g * K * M * NP, in, K, M, zero, [&](int m, V(&acc)[NB]) {
                for (int i = 0; i < NB; i++)
                    L::store(to + m * LB + i * W, F(2) * acc[i] * L::load(hidden + m * LB + i * W));
            });
            in = to;
        }
        const int K = int(l.dims[1]), P = int(l.dims[0]);
        product<L>(weight_[0]->get() + g * K * P * NP, in, K, P, zero, [&](int m, V(&acc)[NB]) {
            if (m < l.d_tree) {
                for (int i = 0; i < NB; i++) L::store(grads + m * LB + i * W, acc[i]);
                return;
            }
            const int64_t d = m - l.d_tree;
            for (int i = 0; i < NB; i++) {
                const int64_t at = d * LB + i * W;
                V kept = acc[i] + L::load(memory + at);  // through the MLP, and past it into the new memory
                L::store(memory + at, L::spread(keep_.get() + (g * l.d_m + d) * NP) * kept);
                if (l.rate_grads) {
                    F *keep = sums + (1 + l.d_m) * LB + at;
                    L::store(keep, L::load(keep) + kept * memory_before(g, t, d, i));
                }
            }
        });
        if (l.traced) carry_traces(g, grads);
    }

    V memory_before(int64_t g, int64_t t, int64_t d, int i) const {
        const int64_t at = d * LB + i * W;
        if (t == 0) return L::load(memory_0_.get() + g * l.d_m * LB + at);
        const F *signal = this->cell_at(g, t - 1);
        return L::load(signal + l.d_tree * LB + at) +
               L::spread(gain_.get() + (g * l.d_m + d) * NP) * L::load(signal + cell.tanh * LB + at);
    }

    void carry_traces(int64_t g, F *grads) {
        F *carried = branch_.get() + g * l.d_tree * LB;
        for (int64_t at = 0; at < l.d_tree * LB; at += W) {
            V total = L::load(grads + at) + L::load(carried + at);
            L::store(grads + at, total);
            L::store(carried + at, F(l.kappa_b) * total);
        }
    }

    // puts the gradients of a group's branch sums where the readers of every source find them
    void share_branch_grads(int64_t g, const F *grads) const {
        constexpr int width = sizeof(C) / sizeof(F);
        for (int p = 0; p < NP && this->real(g * NP + p); p++) {
            F *to = branch_grads_.get() + (g * NP + p) * l.d_tree * COLS;
            for (int64_t r = 0; r < l.d_tree; r++) {
                C part[CV];
                L::part(grads + r * LB, p, part);
                for (int i = 0; i < CV; i++) L::store_columns(to + r * COLS + i * width, F(l.input_scale) * part[i]);
            }
        }
    }
};
