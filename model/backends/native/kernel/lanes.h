// Vectors of the machine's width, and how batch columns and neurons share the lanes of a row.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class F, int Bytes>
struct VectorOf {
    typedef F type __attribute__((vector_size(Bytes)));
    typedef F anywhere __attribute__((vector_size(Bytes), aligned(sizeof(F))));  // in memory, at any address
};

// A row is NB vectors. With NP = 1 its lanes are batch columns of one neuron; with NP = 2 they are columns of two
// neighbouring neurons in turn (column 0 of both, column 1 of both, ...), so that 8 columns fill a vector of 16.
template <class F_, int NP_, int NB_>
struct Lanes {
    using F = F_;
    static constexpr int NP = NP_, NB = NB_;
    static constexpr int W = kVectorBytes / sizeof(F);
    static constexpr int LB = W * NB;         // lanes of a row
    static constexpr int COLS = LB / NP;      // batch columns of a row
    static constexpr int CV = NP == 1 ? NB : 1;  // vectors that hold one neuron's columns
    using V = typename VectorOf<F, kVectorBytes>::type;
    using C = typename VectorOf<F, kVectorBytes / NP>::type;  // as many of one neuron's columns as fit

    using MemoryV = typename VectorOf<F, kVectorBytes>::anywhere;
    using MemoryC = typename VectorOf<F, kVectorBytes / NP>::anywhere;

    static inline V load(const F *p) { return *reinterpret_cast<const MemoryV *>(p); }
    static inline void store(F *p, V v) { *reinterpret_cast<MemoryV *>(p) = v; }
    static inline C load_columns(const F *p) { return *reinterpret_cast<const MemoryC *>(p); }
    static inline void store_columns(F *p, C v) { *reinterpret_cast<MemoryC *>(p) = v; }
    static inline V all(F x) { return x - V{}; }  // not x + 0, which is no copy of x = -0 and costs an addition

    // NP numbers, one for each neuron of the group, spread over the lanes
    static inline V spread(const F *p) {
        if constexpr (NP == 1) {
            return all(*p);
        } else {
            static_assert(sizeof(F) == 4, "pairs are for single precision");
            double pair;
            std::memcpy(&pair, p, sizeof pair);
            using D = typename VectorOf<double, kVectorBytes>::type;
            D d = pair - D{};
            V v;
            std::memcpy(&v, &d, sizeof v);
            return v;
        }
    }

    // the columns of each neuron of a group to a row
    static inline void join(const C (&columns)[NP][CV], F *row) {
        if constexpr (NP == 1) {
            for (int i = 0; i < NB; i++) store(row + i * W, columns[0][i]);
        } else {
            store(row, __builtin_shufflevector(columns[0][0], columns[1][0], 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6,
                                               14, 7, 15));
        }
    }

    // a row to the columns of neuron p of its group
    static inline void part(const F *row, int p, C (&columns)[CV]) {
        if constexpr (NP == 1) {
            for (int i = 0; i < NB; i++) columns[i] = load(row + i * W);
        } else {
            V v = load(row);
            columns[0] = p == 0 ? __builtin_shufflevector(v, v, 0, 2, 4, 6, 8, 10, 12, 14)
                                : __builtin_shufflevector(v, v, 1, 3, 5, 7, 9, 11, 13, 15);
        }
    }

    // sums over the columns, for each neuron of the group
    static inline void sum_columns(V v, F (&sums)[NP]) {
        fold<W / 2>(v, sums, std::make_index_sequence<W / 2>());
    }
    template <int width, class Half, size_t... I>
    static inline void fold(Half v, F (&sums)[NP], std::index_sequence<I...>) {
        if constexpr (width < NP) {
            for (int p = 0; p < NP; p++) sums[p] = v[p];
        } else if constexpr (width == 1) {
            sums[0] = v[0] + v[1];
        } else {
            auto low = __builtin_shufflevector(v, v, I...), high = __builtin_shufflevector(v, v, (width + I)...);
            fold<width / 2>(low + high, sums, std::make_index_sequence<width / 2>());
        }
    }

    // rows[i][j] becomes rows[j][i]: log2(W) perfect shuffles of the rows
    static inline void transpose(V (&rows)[W]) { transpose(rows, std::make_index_sequence<W>()); }
    template <size_t... I>
    static inline void transpose(V (&rows)[W], std::index_sequence<I...>) {
        for (int done = 1; done < W; done *= 2) {
            V next[W];
            for (int i = 0; i < W / 2; i++) {
                V a = rows[i], b = rows[i + W / 2];
                next[2 * i] = __builtin_shufflevector(a, b, (I % 2 * W + I / 2)...);
                next[2 * i + 1] = __builtin_shufflevector(a, b, (I % 2 * W + W / 2 + I / 2)...);
            }
            for (int i = 0; i < W; i++) rows[i] = next[i];
        }
    }

    static inline V positive(V v) { return v < V{} ? V{} : v; }  // lets what is no number through, as torch does
    static inline V magnitude(V v) { return v < V{} ? -v : v; }
    static inline V sign(V v) { return (v > V{} ? all(1) : V{}) - (v < V{} ? all(1) : V{}); }

    static inline V tanh(V x) {
        if constexpr (std::is_same_v<F, double>) {
            for (int i = 0; i < W; i++) x[i] = std::tanh(x[i]);
            return x;
        } else {
            // odd rational approximation, a few units in the last place; +-1 in float from 7.9 on (the form used by Eigen)
            constexpr F limit = 7.90531110763549805f;
            x = x > all(limit) ? all(limit) : x;
            x = x < all(-limit) ? all(-limit) : x;
            V s = x * x;
            V top = s * -2.76076847742355e-16f + 2.00018790482477e-13f;
            top = s * top + -8.60467152213735e-11f;
            top = s * top + 5.12229709037114e-08f;
            top = s * top + 1.48572235717979e-05f;
            top = s * top + 6.37261928875436e-04f;
            top = s * top + 4.89352455891786e-03f;
            V bottom = s * 1.19825839466702e-06f + 1.18534705686654e-04f;
            bottom = s * bottom + 2.26843463243900e-03f;
            bottom = s * bottom + 4.89352518554385e-03f;
            return x * top / bottom;
        }
    }
};

// Asks for memory before it is used: traces outgrow the caches that are near, and every group touches its own part.
template <bool WRITE, class F>
static inline void prefetch(const F *from, int64_t count) {
    const char *line = reinterpret_cast<const char *>(from), *end = reinterpret_cast<const char *>(from + count);
    for (; line < end; line += 64) __builtin_prefetch(line, WRITE, 3);
}

// Zeroed memory on vector boundaries.
template <class F>
class Buffer {
public:
    explicit Buffer(int64_t size) {
        size_t bytes = (size_t(size > 0 ? size : 1) * sizeof(F) + 63) / 64 * 64;
        data_ = static_cast<F *>(std::aligned_alloc(64, bytes));
        if (!data_) throw std::bad_alloc();
        std::memset(data_, 0, bytes);
    }
    ~Buffer() { std::free(data_); }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    F *get() const { return data_; }

private:
    F *data_;
};
