// The entry points of the compiled layer, for the precision REAL; what the parts do is said in their headers.
#include "backward.h"
#include "forward.h"

namespace {

constexpr int W = kVectorBytes / sizeof(REAL);

// Cuts the batch into blocks and calls `work` with the lanes that suit each, its first column, its columns, its trace.
template <class Work>
void for_blocks(const Layer &l, Work work) {
    int64_t trace = 0;
    for (int64_t first = 0; first < l.batch;) {
        const int64_t rest = l.batch - first;
        const auto block = [&](auto lanes, int64_t columns) {
            work(lanes, first, columns, trace);
            trace += Pass<decltype(lanes)>::trace_size(l);
            first += columns;
        };
        // Few columns would leave half of a vector empty, so two neurons share it; many take two vectors, which read every
        // weight once for both. In between, up to one and a half vectors, a full one and a small rest waste less.
        if (W == 16 && rest <= 8) {
            if constexpr (W == 16) block(Lanes<REAL, 2, 1>{}, rest);
        } else if (rest <= W + W / 2) {
            block(Lanes<REAL, 1, 1>{}, rest < W ? rest : W);
        } else {
            block(Lanes<REAL, 1, 2>{}, rest < 2 * W ? rest : 2 * W);
        }
    }
}

}  // namespace

extern "C" {
// What Python compares with its own description of the structure: a stale library must not be called.
int64_t elm_struct_size() { return sizeof(Layer); }

int64_t elm_max_matrices() { return kMaxMatrices; }

// Numbers that the trace of a layer takes.
int64_t elm_trace_size(const Layer *l) {
    int64_t size = 0;
    for_blocks(*l, [&](auto lanes, int64_t, int64_t, int64_t trace) {
        size = trace + Pass<decltype(lanes)>::trace_size(*l);
    });
    return size;
}

// 0 on success, 1 when memory ran out.
int64_t elm_forward(const Layer *l) {
    try {
        for_blocks(*l, [&](auto lanes, int64_t first, int64_t columns, int64_t trace) {
            Forward<decltype(lanes)>(*l, first, columns, static_cast<REAL *>(l->trace) + trace).run();
        });
    } catch (const std::bad_alloc &) {  // no exception may cross the C interface
        return 1;
    }
    return 0;
}

int64_t elm_backward(const Layer *l) {
    try {
        for_blocks(*l, [&](auto lanes, int64_t first, int64_t columns, int64_t trace) {
            Backward<decltype(lanes)>(*l, first, columns, static_cast<REAL *>(l->trace) + trace).run();
        });
    } catch (const std::bad_alloc &) {
        return 1;
    }
    return 0;
}
}
