// First all rows' keys and values go into the pages; then each (rows of a slot, key head) is a
// task, or each split of its context. Results do not depend on which.
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "kernels/attention_step.h"
#include "ops/attention_step_forms.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::AttentionStepParams;
using kernels::AttentionStepTask;

constexpr int64_t kQueries = 128;                   // of a task, or those of one row
constexpr int64_t kGrain = int64_t{1} << 16;        // elements of rows a thread at least
constexpr int64_t kCachedGrain = int64_t{1} << 12;  // elements of keys a thread: 2 us
constexpr int64_t kMostParts = int64_t{1} << 24;    // floats: 64 MB

Tensor floats(const Tensor& x) { return x.defined() ? x.to(torch::kFloat32).contiguous() : x; }

void check_places(const AttentionStepParams& params, int64_t slots) {
  const int64_t tokens = params.table_width * params.pages.page_tokens;
  for (int64_t n = 0; n < params.rows; ++n) {
    HYPENET_CHECK(params.slots[n] < slots, "attention_step: slots: expected less than ", slots,
                  ", found ", params.slots[n]);
    if (params.slots[n] < 0) continue;
    HYPENET_CHECK(params.positions[n] >= 0 && params.positions[n] < tokens,
                  "attention_step: positions: expected 0 .. ", tokens - 1, ", found ",
                  params.positions[n]);
  }
}

/// Neighbouring rows of one slot, as many as make kQueries, for every key head.
std::vector<AttentionStepTask> tasks_of(const AttentionStepParams& params) {
  const int64_t N = params.rows, heads = params.pages.heads;
  const int64_t most = std::max<int64_t>(1, kQueries / (params.heads / heads));
  const int32_t* const slots = params.slots;
  std::vector<AttentionStepTask> tasks;
  for (int64_t first = 0, end = 0; first < N; first = end) {
    end = first + 1;
    if (slots[first] < 0) continue;
    while (end < N && end - first < most && slots[end] == slots[first]) ++end;
    for (int64_t head = 0; head < heads; ++head) {
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
  const int64_t tokens = params.positions[tasks.back().first_row] + 1;
  const int64_t grain = kCachedGrain / (tokens * params.pages.size) + 1;
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
  const int64_t heads = params.pages.heads;
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
  for (int64_t n = 0; n < params.rows; ++n) {
    if (params.slots[n] < 0) std::fill_n(o.data_ptr<float>() + n * o.size(1), o.size(1), 0.0F);
  }
}

}  // namespace

Tensor attention_step_cpu(const AttentionStepInput& given) {
  const AttentionStepInput input = with_each(given, floats);
  const Tensor q = torch::empty_like(input.q), o = torch::empty_like(q);
  AttentionStepParams params = step_params(input, o);
  check_places(params, input.page_table.size(0));
  const int64_t width = q.size(1) + 2 * input.k.size(1);
  at::parallel_for(0, params.rows, kGrain / width + 1, [&](int64_t begin, int64_t end) {
    kernels::ready_step_rows(params, begin, end, q.data_ptr<float>());
  });
  params.q = q.const_data_ptr();
  clear_padding(params, o);
  const std::vector<AttentionStepTask> tasks = tasks_of(params);
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
