// First all rows' keys and values go into the pages; then each (rows of a slot, key head) is a
// task, or each split of its context. Results do not depend on which.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/attention_step.h"
#include "ops/attention_step_forms.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::AttentionStepParams;
using kernels::AttentionStepTask;

constexpr int64_t kQueries = 128;                 // of a task, or those of one row
constexpr int64_t kGrain = int64_t{1} << 16;      // elements of keys and values a thread at least
constexpr int64_t kMostParts = int64_t{1} << 24;  // floats: 64 MB

Tensor floats(const Tensor& x) { return x.defined() ? x.to(torch::kFloat32).contiguous() : x; }

kernels::StepPages pages_of(const AttentionStepInput& input) {
  const Tensor& keys = input.cache.keys;
  return {.keys = keys.mutable_data_ptr(),
          .values = input.cache.values.mutable_data_ptr(),
          .page_table = input.page_table.const_data_ptr<int32_t>(),
          .slots = input.slots.const_data_ptr<int32_t>(),
          .positions = input.positions.const_data_ptr<int32_t>(),
          .page_tokens = keys.size(1),
          .table_width = input.page_table.size(1),
          .key_heads = keys.size(2),
          .size = keys.size(3),
          .type = kernel_type(keys)};
}

void check_places(const AttentionStepInput& input, const kernels::StepPages& pages) {
  const int64_t slots = input.page_table.size(0), tokens = pages.table_width * pages.page_tokens;
  for (int64_t n = 0; n < input.q.size(0); ++n) {
    HYPENET_CHECK(pages.slots[n] < slots, "attention_step: slots: expected less than ", slots,
                  ", found ", pages.slots[n]);
    if (pages.slots[n] < 0) continue;
    HYPENET_CHECK(pages.positions[n] >= 0 && pages.positions[n] < tokens,
                  "attention_step: positions: expected 0 .. ", tokens - 1, ", found ",
                  pages.positions[n]);
  }
}

/// x [N, heads d] normed, rotated and scaled.
Tensor ready(const Tensor& given, const Tensor& given_weight, const AttentionStepInput& input,
             const Tensor& given_row_scales, double scale) {
  const Tensor x = given.contiguous(), y = torch::empty_like(x), weight = floats(given_weight);
  const Tensor cos = floats(input.angles.cos), sin = floats(input.angles.sin);
  const Tensor row_scales = floats(given_row_scales);
  const int64_t size = input.cache.keys.size(3);
  const kernels::StepVectorParams params{.x = x.const_data_ptr<float>(),
                                         .weight = floats_or_null(weight),
                                         .cos = floats_or_null(cos),
                                         .sin = floats_or_null(sin),
                                         .row_scales = floats_or_null(row_scales),
                                         .y = y.data_ptr<float>(),
                                         .heads = x.size(1) / size,
                                         .size = size,
                                         .eps = static_cast<float>(input.eps),
                                         .scale = static_cast<float>(scale)};
  at::parallel_for(0, x.size(0), kGrain / x.size(1) + 1, [&](int64_t begin, int64_t end) {
    kernels::ready_step_vectors(params, begin, end);
  });
  return y;
}

/// Neighbouring rows of one slot, as many as make kQueries, for every key head.
std::vector<AttentionStepTask> tasks_of(const AttentionStepParams& params, int64_t N) {
  const int64_t most = std::max<int64_t>(1, kQueries / params.group);
  const int32_t* const slots = params.pages.slots;
  std::vector<AttentionStepTask> tasks;
  for (int64_t first = 0, end = 0; first < N; first = end) {
    end = first + 1;
    if (slots[first] < 0) continue;
    while (end < N && end - first < most && slots[end] == slots[first]) ++end;
    for (int64_t head = 0; head < params.pages.key_heads; ++head) {
      tasks.push_back({first, end - first, head});
    }
  }
  return tasks;
}

/// What all tasks need at most.
struct Need {
  Need(const AttentionStepParams& params, const std::vector<AttentionStepTask>& tasks) {
    for (const AttentionStepTask& task : tasks) {
      part = std::max(part, attention_step_part(params, task));
      scratch = std::max(scratch, attention_step_scratch(params, task));
      splits = std::max(splits, attention_step_splits(params, task));
    }
  }
  int64_t part = 0, scratch = 0;  // floats
  int64_t splits = 0;
};

/// Every task on its own, one split after the other.
void run_by_task(const AttentionStepParams& params, const std::vector<AttentionStepTask>& tasks,
                 const Need& need) {
  const int64_t tokens = params.pages.positions[tasks.back().first_row] + 1;
  const int64_t grain = kGrain / (tokens * params.pages.size) + 1;
  const auto count = static_cast<int64_t>(tasks.size());
  at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    const Tensor memory = torch::empty({2 * need.part + need.scratch});
    float *const total = memory.data_ptr<float>(), *const part = total + need.part;
    float* const scratch = part + need.part;
    for (int64_t i = begin; i < end; ++i) {
      const AttentionStepTask& task = tasks[static_cast<size_t>(i)];
      kernels::attention_step_split(params, task, 0, total, scratch);
      for (int64_t s = 1; s < attention_step_splits(params, task); ++s) {
        kernels::attention_step_split(params, task, s, part, scratch);
        kernels::add_attention_part(params, task, total, part);
      }
      kernels::finish_attention_step(params, task, total);
    }
  });
}

/// Every split on its own, which are joined in the order of run_by_task. The key heads of a split
/// follow each other: their rows are neighbours in memory.
void run_by_split(const AttentionStepParams& params, const std::vector<AttentionStepTask>& tasks,
                  const Need& need) {
  const auto count = static_cast<int64_t>(tasks.size());
  const int64_t heads = params.pages.key_heads;
  const Tensor parts = torch::empty({count * need.splits * need.part});
  const auto part_at = [&](int64_t task, int64_t split) {
    return parts.data_ptr<float>() + (task * need.splits + split) * need.part;
  };
  at::parallel_for(0, count * need.splits, 1, [&](int64_t begin, int64_t end) {
    const Tensor scratch = torch::empty({need.scratch});
    for (int64_t i = begin; i < end; ++i) {
      const int64_t split = i / heads % need.splits;
      const int64_t index = i / (heads * need.splits) * heads + i % heads;
      const AttentionStepTask& task = tasks[static_cast<size_t>(index)];
      if (split >= attention_step_splits(params, task)) continue;
      kernels::attention_step_split(params, task, split, part_at(index, split),
                                    scratch.data_ptr<float>());
    }
  });
  for (int64_t i = 0; i < count; ++i) {
    const AttentionStepTask& task = tasks[static_cast<size_t>(i)];
    for (int64_t s = 1; s < attention_step_splits(params, task); ++s) {
      kernels::add_attention_part(params, task, part_at(i, 0), part_at(i, s));
    }
    kernels::finish_attention_step(params, task, part_at(i, 0));
  }
}

/// Whether parts are small beside the keys and values they stand for, as in a decode, or tasks are
/// too few for the threads.
bool pays_by_split(const AttentionStepParams& params, const std::vector<AttentionStepTask>& tasks,
                   const Need& need) {
  const auto count = static_cast<int64_t>(tasks.size());
  const bool is_small = 16 * need.part <= 2 * kernels::kSplitTokens * params.pages.size;
  return count * need.splits * need.part <= kMostParts &&
         (is_small || count < 4 * at::get_num_threads());
}

/// Outputs of padding are not any task's.
void clear_padding(const AttentionStepParams& params, const Tensor& o) {
  for (int64_t n = 0; n < o.size(0); ++n) {
    if (params.pages.slots[n] < 0) std::fill_n(params.o + n * o.size(1), o.size(1), 0.0F);
  }
}

}  // namespace

Tensor attention_step_cpu(const AttentionStepInput& input) {
  const kernels::StepPages pages = pages_of(input);
  check_places(input, pages);
  const int64_t N = input.q.size(0), width = pages.key_heads * pages.size;
  const Tensor k = ready(input.k, input.k_weight, input, {}, 1), v = input.v.contiguous();
  const Tensor q = ready(input.q, input.q_weight, input, input.query_scale,
                         1 / std::sqrt(static_cast<double>(pages.size)));
  at::parallel_for(0, N, kGrain / width + 1, [&](int64_t begin, int64_t end) {
    kernels::store_step_rows(pages, k.const_data_ptr<float>(), v.const_data_ptr<float>(), begin,
                             end);
  });
  const Tensor o = torch::empty_like(q), gate = floats(input.gate);
  const AttentionStepParams params{.q = q.const_data_ptr<float>(),
                                   .gate = floats_or_null(gate),
                                   .o = o.data_ptr<float>(),
                                   .pages = pages,
                                   .group = q.size(1) / width};
  clear_padding(params, o);
  const std::vector<AttentionStepTask> tasks = tasks_of(params, N);
  if (tasks.empty()) return o;
  const Need need(params, tasks);
  if (need.splits > 1 && pays_by_split(params, tasks, need)) {
    run_by_split(params, tasks, need);
  } else {
    run_by_task(params, tasks, need);
  }
  return o;
}

}  // namespace hypenet
