// What forward and backward share: the block of batch columns they work on, packed weights, threads in step.
#pragma once
#include <atomic>
#include <thread>
#include <vector>

#include "lanes.h"
#include "layer.h"
#include "products.h"

// Lets threads meet; each waits in a loop, for steps last microseconds.
class Meeting {
public:
    explicit Meeting(int threads) : threads_(threads) {}
    void wait() {
        if (threads_ == 1) return;
        int round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.fetch_add(1, std::memory_order_release);
            return;
        }
        for (int spins = 0; round_.load(std::memory_order_acquire) == round; spins++)
            if (spins > 2000) std::this_thread::yield();
    }

private:
    const int threads_;
    std::atomic<int> arrived_{0}, round_{0};
};

// Row numbers within the cell that holds the trace of one group and step.
struct CellRows {
    int64_t signal = 0;  // P rows [b_t ; keep m_(t-1)], what the MLP reads
    int64_t hidden;      // rectified hidden units of every hidden layer
    int64_t tanh;        // D rows
    int64_t count;

    explicit CellRows(const Layer &l) {
        hidden = l.dims[0];
        tanh = hidden;
        for (int i = 1; i < l.matrices; i++) tanh += l.dims[i];
        count = tanh + l.d_m;
    }
};

template <class L>
class Pass {
public:
    using F = typename L::F;
    using V = typename L::V;
    using C = typename L::C;
    static constexpr int NP = L::NP, NB = L::NB, LB = L::LB, W = L::W, COLS = L::COLS, CV = L::CV;

    // Works on the columns first .. first + columns - 1 of the batch.
    Pass(const Layer &layer, int64_t first, int64_t columns, F *trace)
        : l(layer), b0(first), cols(columns), groups((layer.n + NP - 1) / NP), threads(int(layer.threads)),
          sources(layer.n_in + (layer.recurrent ? layer.n : 0)), cell(layer), meeting(threads), cells(trace),
          input_mask_(layer.input_mask ? layer.n_in * COLS : 0) {
        if (!l.input_mask) return;
        for (int64_t i = 0; i < l.n_in; i++)
            for (int64_t b = 0; b < cols; b++)
                input_mask_.get()[i * COLS + b] = static_cast<const F *>(l.input_mask)[(b0 + b) * l.n_in + i];
    }

    static int64_t trace_size(const Layer &l) {
        int64_t groups = (l.n + NP - 1) / NP;
        return (l.stored ? l.steps : 1) * step_rows(groups, CellRows(l).count) * LB;
    }

protected:
    const Layer &l;
    const int64_t b0, cols, groups;
    const int threads;
    const int64_t sources;  // rows a synapse can read
    const CellRows cell;
    Meeting meeting;
    F *const cells;  // [T or 1, step_rows, LB], a step's rows being [G, cell.count]
    Buffer<F> input_mask_;  // [I, COLS], where there is one

    // rows of all groups in one step; odd, so that the same row of consecutive steps does not fall on one cache set
    static int64_t step_rows(int64_t groups, int64_t count) { return (groups * count) | 1; }

    int64_t cell_stride() const { return step_rows(groups, cell.count) * LB; }
    F *cell_at(int64_t g, int64_t t) const {
        return cells + (l.stored ? t : 0) * cell_stride() + g * cell.count * LB;
    }
    bool real(int64_t n) const { return n < l.n; }

    // this thread's share of `count` things
    int64_t share(int64_t count, int thread) const { return count * thread / threads; }

    // [N, X] to [G, X, NP], zeros for padding
    void pack(const void *from, int64_t x_count, F *to, F factor = 1) const {
        const F *source = static_cast<const F *>(from);
        for (int64_t n = 0; n < l.n; n++)
            for (int64_t x = 0; x < x_count; x++)
                to[(n / NP * x_count + x) * NP + n % NP] = factor * source[n * x_count + x];
    }

    // [N, out, in] to [G, in, out, NP]
    void pack_transposed(const void *from, int64_t out, int64_t in, F *to) const {
        const F *source = static_cast<const F *>(from);
        for (int64_t n = 0; n < l.n; n++)
            for (int64_t m = 0; m < out; m++)
                for (int64_t k = 0; k < in; k++)
                    to[((n / NP * in + k) * out + m) * NP + n % NP] = source[(n * out + m) * in + k];
    }

    // [B, N, X] to rows [G, X, LB] and back; a null source leaves zeros
    void load_rows(const void *from, int64_t x_count, F *to) const {
        const F *source = static_cast<const F *>(from);
        if (!source) return;
        for (int64_t b = 0; b < cols; b++)
            for (int64_t n = 0; n < l.n; n++)
                for (int64_t x = 0; x < x_count; x++)
                    to[(n / NP * x_count + x) * LB + b * NP + n % NP] = source[((b0 + b) * l.n + n) * x_count + x];
    }
    void store_rows(const F *from, int64_t x_count, void *to) const {
        F *target = static_cast<F *>(to);
        if (!target) return;
        for (int64_t b = 0; b < cols; b++)
            for (int64_t n = 0; n < l.n; n++)
                for (int64_t x = 0; x < x_count; x++)
                    target[((b0 + b) * l.n + n) * x_count + x] = from[(n / NP * x_count + x) * LB + b * NP + n % NP];
    }

    F mask_at(int64_t b, int64_t n) const {
        return l.recurrent_mask ? static_cast<const F *>(l.recurrent_mask)[(b0 + b) * l.n + n] : F(1);
    }

    // what the channels first .. last - 1 carry in step t: a row of COLS for each, rows `stride` apart
    void read_input(int64_t t, int64_t first, int64_t last, F *to, int64_t stride) const {
        const F *x = static_cast<const F *>(l.x);
        if (l.input_kind == 1) {
            transpose_input(x + (b0 * l.steps + t) * l.n_in, first, last, to, stride);
        } else {
            for (int64_t i = first; i < last; i++) {
                std::memset(to + i * stride, 0, COLS * sizeof(F));
                if (l.input_kind == 2) std::memcpy(to + i * stride, x + (t * l.n_in + i) * l.batch + b0, cols * sizeof(F));
            }
        }
        const int64_t *ids = static_cast<const int64_t *>(l.x);
        for (int64_t b = 0; l.input_kind == 0 && b < cols; b++) {
            const int64_t id = ids[(b0 + b) * l.steps + t];
            if (first <= id && id < last) to[id * stride + b] = F(l.embedding_scale);
        }
        if (!l.input_mask) return;
        for (int64_t i = first; i < last; i++)
            for (int64_t b = 0; b < COLS; b++) to[i * stride + b] *= input_mask_.get()[i * COLS + b];
    }

    // values of one step, a run of channels for each batch column, to a run of columns for each channel
    void transpose_input(const F *x, int64_t first, int64_t last, F *to, int64_t stride) const {
        const int64_t row = l.steps * l.n_in;
        int64_t i = first;
        for (; i + W <= last; i += W)
            for (int64_t b0 = 0; b0 < COLS; b0 += W) {
                V tile[W];
                for (int64_t b = 0; b < W; b++) tile[b] = b0 + b < cols ? L::load(x + (b0 + b) * row + i) : V{};
                L::transpose(tile);
                for (int64_t k = 0; k < W; k++)
                    std::memcpy(to + (i + k) * stride + b0, &tile[k], (COLS < W ? COLS : W) * sizeof(F));
            }
        for (; i < last; i++)
            for (int64_t b = 0; b < COLS; b++) to[i * stride + b] = b < cols ? x[b * row + i] : F(0);
    }

    // what synapses read of the activity before step t: rows as in read_input, for the neurons first .. last - 1
    void read_activity(int64_t t, int64_t first, int64_t last, F *to, int64_t stride) const {
        const F *start = static_cast<const F *>(l.activity_0), *activity = static_cast<const F *>(l.activity);
        for (int64_t n = first; n < last; n++) {
            C columns[CV] = {};
            if (t > 0) load_part(activity + ((t - 1) * l.n + n) * l.batch, columns);
            F *row = to + n * stride;
            std::memcpy(row, columns, COLS * sizeof(F));
            if (t == 0 && start)
                for (int64_t b = 0; b < cols; b++) row[b] = start[(b0 + b) * l.n + n];
            if (!l.recurrent_mask) continue;
            for (int64_t b = 0; b < cols; b++) row[b] *= mask_at(b, n);
        }
    }

    // columns of one neuron from or to an array [..., B] at p, which points to its first batch column
    void load_part(const F *p, C (&to)[CV]) const {
        constexpr int width = sizeof(C) / sizeof(F);
        if (cols == COLS) {
            for (int i = 0; i < CV; i++) to[i] = L::load_columns(p + b0 + i * width);
            return;
        }
        for (int i = 0; i < COLS; i++) to[i / width][i % width] = i < cols ? p[b0 + i] : F(0);
    }
    void store_part(const C (&from)[CV], F *p) const {
        constexpr int width = sizeof(C) / sizeof(F);
        if (cols == COLS) {
            for (int i = 0; i < CV; i++) L::store_columns(p + b0 + i * width, from[i]);
            return;
        }
        for (int i = 0; i < cols; i++) p[b0 + i] = from[i / width][i % width];
    }
};

// Runs `work(thread)` on every thread of the team, the caller being thread 0.
template <class Work>
void in_team(int threads, Work work) {
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; thread++) others.emplace_back(work, thread);
    work(0);
    for (auto &other : others) other.join();
}
