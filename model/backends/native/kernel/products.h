// The small dense products of a group of neurons, blocked so that a tile of results stays in registers.
#pragma once
#include "lanes.h"

// out[m] = sum over k of w[k][m] in[k], w as [K][M][NP]. Calls done(m, vectors) for every row m of the result.
template <class L, int MT, class Start, class Done>
static inline __attribute__((always_inline)) void product_tile(const typename L::F *w, const typename L::F *in, int K,
                                                               int M, int m0, Start &start, Done &done) {
    typename L::V acc[MT][L::NB];
    for (int m = 0; m < MT; m++) start(m0 + m, acc[m]);
    w += int64_t(m0) * L::NP;
    for (int k = 0; k < K; k++, w += int64_t(M) * L::NP, in += L::LB) {
        typename L::V x[L::NB];  // read once for all rows of the tile
        for (int i = 0; i < L::NB; i++) x[i] = L::load(in + i * L::W);
        for (int m = 0; m < MT; m++) {
            typename L::V weight = L::spread(w + m * L::NP);
            for (int i = 0; i < L::NB; i++) acc[m][i] += weight * x[i];
        }
    }
    for (int m = 0; m < MT; m++) done(m0 + m, acc[m]);
}

// Splits the rows of the result evenly into tiles; `start(m, vectors)` sets what the sums begin with. Evenly, because the
// sums of a tile of one or two rows would wait for each other. The number of rows is a template argument, or the compiler
// would keep the sums in memory; hence the switch.
template <class L, class Start, class Done>
static inline __attribute__((always_inline)) void product(const typename L::F *w, const typename L::F *in, int K, int M,
                                                          Start start, Done done) {
    constexpr int kMost = L::NB == 1 ? 16 : 8;  // 16 sums, and what they read, fit the 32 registers
    int tiles = (M + kMost - 1) / kMost, m = 0;
    for (int tile = 0; tile < tiles; tile++) {
        int rows = (M - m + tiles - tile - 1) / (tiles - tile);
        switch (rows) {
#define TILE(MT) \
    case MT: if constexpr (MT <= kMost) product_tile<L, MT>(w, in, K, M, m, start, done); break;
            TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8)
            TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14) TILE(15) TILE(16)
#undef TILE
        }
        m += rows;
    }
}

// Rows of a group over time: row i of step t begins at data + t * stride + i * LB.
template <class F>
struct Rows {
    const F *data;
    int64_t stride;
};

constexpr int kOuterMost = 5;  // rows and columns of a tile of outer products: 25 sums fit the 32 registers

template <class L, int MT, int KT, bool SQUARED>
static inline void outer_tile(Rows<typename L::F> a, Rows<typename L::F> b, int steps, typename L::F *const (&out)[L::NP],
                              int64_t ld) {
    typename L::V acc[MT][KT] = {};  // lanes stay apart until the last step: a sum over them takes several shuffles
    for (int t = 0; t < steps; t++) {
        const typename L::F *pa = a.data + t * a.stride, *pb = b.data + t * b.stride;
        for (int i = 0; i < L::NB; i++) {
            typename L::V va[MT];
            for (int m = 0; m < MT; m++) va[m] = L::load(pa + m * L::LB + i * L::W);
            for (int k = 0; k < KT; k++) {
                typename L::V vb = L::load(pb + k * L::LB + i * L::W);
                if (SQUARED) vb = vb * vb;
                for (int m = 0; m < MT; m++) acc[m][k] += va[m] * vb;
            }
        }
    }
    for (int m = 0; m < MT; m++)
        for (int k = 0; k < KT; k++) {
            typename L::F sums[L::NP];
            L::sum_columns(acc[m][k], sums);
            for (int p = 0; p < L::NP; p++)
                if (out[p]) out[p][m * ld + k] += sums[p];
        }
}

template <class L, int KT, bool SQUARED>
static inline void outer_columns(Rows<typename L::F> a, Rows<typename L::F> b, int steps, int M, int64_t ld,
                                 typename L::F *const (&out)[L::NP]) {
    int tiles = (M + kOuterMost - 1) / kOuterMost, m = 0;
    for (int tile = 0; tile < tiles; tile++) {
        int rows = (M - m + tiles - tile - 1) / (tiles - tile);
        Rows<typename L::F> shifted{a.data + m * L::LB, a.stride};
        typename L::F *part[L::NP];
        for (int p = 0; p < L::NP; p++) part[p] = out[p] ? out[p] + m * ld : nullptr;
        switch (rows) {
#define TILE(MT) case MT: outer_tile<L, MT, KT, SQUARED>(shifted, b, steps, part, ld); break;
            TILE(1) TILE(2) TILE(3) TILE(4) TILE(5)
#undef TILE
        }
        m += rows;
    }
}

// out[p][m][k] += sum over steps and columns of a[m] b[k] (or b[k] squared); out[p] is null for a neuron that is padding.
// A few rows of b stay in the first cache while all of a passes by.
template <class L, bool SQUARED>
static inline void outer(Rows<typename L::F> a, Rows<typename L::F> b, int steps, int M, int K,
                         typename L::F *const (&out)[L::NP]) {
    int tiles = (K + kOuterMost - 1) / kOuterMost, k = 0;
    for (int tile = 0; tile < tiles; tile++) {
        int columns = (K - k + tiles - tile - 1) / (tiles - tile);
        Rows<typename L::F> shifted{b.data + k * L::LB, b.stride};
        typename L::F *part[L::NP];
        for (int p = 0; p < L::NP; p++) part[p] = out[p] ? out[p] + k : nullptr;
        switch (columns) {
#define TILE(KT) case KT: outer_columns<L, KT, SQUARED>(a, shifted, steps, M, K, part); break;
            TILE(1) TILE(2) TILE(3) TILE(4) TILE(5)
#undef TILE
        }
        k += columns;
    }
}
