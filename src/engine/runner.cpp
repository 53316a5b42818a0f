// A GPU's prefill takes the kernels of whole sequences; a CPU's takes those of a step, whose rows
// do not depend on each other, so that chunks do not show in the result.
#include "engine/runner.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "model/mixers/mixer_kind.h"
#include "model/weights.h"

namespace hypenet {
namespace {

/// Rows of a step on a GPU: a few sizes, so that few graphs are recorded.
int64_t padded_rows(int64_t rows) {
  constexpr int64_t kSizes[] = {1, 2, 4, 8, 16, 32, 48};
  for (const int64_t size : kSizes) {
    if (rows <= size) return size;
  }
  constexpr int64_t kGroup = 64;
  return (rows + kGroup - 1) / kGroup * kGroup;
}

c10::Stream current_stream_of(torch::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

}  // namespace

std::optional<std::string> why_no_step_kernels(const CausalLm& model) {
  if (model->compute_type() != torch::kBFloat16)
    return concat("kernels compute in bfloat16, this model in ", type_name(model->compute_type()));
  const auto kinds = kinds_of(model->config());
  const auto slow = std::ranges::find_if_not(
      kinds, [&](const MixerKind* kind) { return kind->has_step_kernels(model->config()); });
  if (slow == kinds.end()) return std::nullopt;
  return concat("there are no kernels for ", (*slow)->name, " layers of these sizes");
}

Chosen::Chosen(const Tensor& packed, int64_t count) : host_(packed), count_(count) {
  if (!packed.is_cuda()) {
    host_ = packed.clone();
    return;
  }
  host_ = torch::empty(packed.sizes(), torch::TensorOptions(torch::kInt32).pinned_memory(true));
  host_.copy_(packed, /*non_blocking=*/true);
  is_here_.emplace(packed.device().type());
  is_here_->record(current_stream_of(packed.device()));
}

std::vector<Chosen::Token> Chosen::read() {
  if (is_here_) is_here_->synchronize();
  const auto* ids = host_.const_data_ptr<int32_t>();
  std::vector<Token> tokens(static_cast<size_t>(count_));
  for (int64_t i = 0; i < count_; ++i) {
    auto& token = tokens[static_cast<size_t>(i)];
    token.id = ids[i];
    std::memcpy(&token.logprob, ids + host_.size(1) + i, sizeof(float));
  }
  return tokens;
}

Runner::Runner(CausalLm& model, Memory& memory, bool uses_graphs)
    : model_(model),
      memory_(memory),
      device_(model->head_weight().device()),
      records_(uses_graphs && can_capture(device_) && !why_no_step_kernels(model)),
      sampling_(make_sampling_state(memory.slots(), model->config().vocab_size,
                                    SamplingOptions::kMostBiases, device_)),
      last_{torch::zeros({memory.slots()}, torch::TensorOptions(torch::kInt32).device(device_)),
            torch::zeros({memory.slots()}, torch::TensorOptions(torch::kInt32).device(device_))} {}

void Runner::start(int64_t slot, const SamplingOptions& options, std::span<const int32_t> prompt) {
  set_sampling(sampling_, slot, options, prompt);
}

Tensor Runner::prefill_rows(const Lease& lease, const Tensor& ids, int64_t past) {
  const int64_t T = ids.size(0);
  const auto options = torch::TensorOptions(torch::kInt32).device(device_);
  const Tensor h = model_->step(ids.to(torch::kInt32),
                                {.slots = torch::full({T}, lease.slot, options),
                                 .positions = torch::arange(past, past + T, options),
                                 .page_table = memory_.used_page_table()},
                                memory_.state());
  return h.slice(0, T - 1);
}

std::optional<Chosen> Runner::prefill(const Lease& lease, const Tensor& ids, int64_t past,
                                      bool is_last) {
  const Tensor residual =
      device_.is_cuda()
          ? model_->prefill(ids, {.slot = lease.slot, .past = past, .pages = lease.pages_on_device},
                            memory_.state())
          : prefill_rows(lease, ids, past);
  if (!is_last) return std::nullopt;
  last_.positions[lease.slot].fill_(past + ids.size(0) - 1);
  return choose({&lease.slot, 1}, residual);
}

void Runner::feed(std::span<const Fed> fed) {
  const auto count = static_cast<int64_t>(fed.size());
  const Tensor host = torch::empty(
      {3, count}, torch::TensorOptions(torch::kInt64).pinned_memory(device_.is_cuda()));
  auto rows = host.accessor<int64_t, 2>();
  for (int64_t i = 0; i < count; ++i) {
    const Fed& row = fed[static_cast<size_t>(i)];
    rows[0][i] = row.slot, rows[1][i] = row.token, rows[2][i] = row.position;
  }
  const Tensor there = host.to(device_, /*non_blocking=*/true);
  const Tensor values = there.slice(0, 1).to(torch::kInt32);
  last_.tokens.index_copy_(0, there[0], values[0]);
  last_.positions.index_copy_(0, there[0], values[1]);
}

void Runner::place(int64_t slot, int64_t position, int32_t token) {
  last_.tokens[slot].fill_(token);
  last_.positions[slot].fill_(position);
}

Runner::Batch& Runner::batch_of(int64_t rows) {
  const auto [place, is_new] = batches_.try_emplace(rows);
  Batch& batch = place->second;
  if (is_new) {
    const auto options = torch::TensorOptions(torch::kInt32).device(device_);
    batch.slots = torch::empty({rows}, options);
    batch.packed = torch::empty({2, rows}, options);
  }
  return batch;
}

void Runner::set_rows(Batch& batch, std::span<const int64_t> slots) {
  if (std::equal(slots.begin(), slots.end(), batch.rows.begin(), batch.rows.end())) return;
  batch.rows.assign(slots.begin(), slots.end());
  const int64_t rows = batch.slots.size(0);
  const Tensor host =
      torch::full({rows}, -1, torch::TensorOptions(torch::kInt32).pinned_memory(device_.is_cuda()));
  std::copy(slots.begin(), slots.end(), host.mutable_data_ptr<int32_t>());
  batch.slots.copy_(host, /*non_blocking=*/true);
}

void Runner::choose(Batch& batch, const Tensor& residual) {
  const SampledTokens found = sample_tokens(model_->step_logits(residual), batch.slots, sampling_);
  put_rows(batch.slots, found, last_, batch.packed);
}

Chosen Runner::choose(std::span<const int64_t> slots, const Tensor& residual) {
  const auto count = static_cast<int64_t>(slots.size());
  Batch& batch = batch_of(count);
  set_rows(batch, slots);
  choose(batch, residual);
  return {batch.packed, count};
}

void Runner::step(Batch& batch) {
  const RowTokens rows = take_rows(batch.slots, last_);
  // A recording reads the whole table wherever it is; other forms may gather all that it names.
  const Tensor table = records_ ? memory_.page_table() : memory_.used_page_table();
  choose(batch,
         model_->step(rows.ids,
                      {.slots = batch.slots, .positions = rows.positions, .page_table = table},
                      memory_.state()));
}

Chosen Runner::decode(std::span<const int64_t> slots) {
  const torch::NoGradGuard no_grad;
  const auto count = static_cast<int64_t>(slots.size());
  Batch& batch = batch_of(device_.is_cuda() ? padded_rows(count) : count);
  set_rows(batch, slots);
  // The first run loads kernels and libraries, which a recording may not.
  if (records_ && batch.runs++ == 1) batch.graph.emplace(device_, [&] { step(batch); });
  if (batch.graph) {
    batch.graph->replay();
  } else {
    step(batch);
  }
  return {batch.packed, count};
}

}  // namespace hypenet
