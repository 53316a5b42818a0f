// A GPU's prefill takes the kernels of whole sequences; a CPU's takes those of a step, whose rows
// do not depend on each other, so that chunks do not show in the result.
#include "engine/runner.h"

#include <algorithm>
#include <cstring>
#include <utility>

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

/// A copy on the host; of a GPU's tensor it is queued.
Tensor host_copy(const Tensor& x) {
  if (!x.is_cuda()) return x.clone();
  const Tensor host = torch::empty(x.sizes(), x.options().device(torch::kCPU).pinned_memory(true));
  return host.copy_(x, /*non_blocking=*/true);
}

std::vector<TokenLogprob> top_of(const TopLogprobs& top, int64_t row) {
  const int32_t* const ids = top.ids.const_data_ptr<int32_t>() + row * kernels::kMostTop;
  const float* const logprobs = top.logprobs.const_data_ptr<float>() + row * kernels::kMostTop;
  std::vector<TokenLogprob> found;
  for (int64_t i = 0; i < kernels::kMostTop && ids[i] >= 0; ++i) {
    found.push_back({ids[i], logprobs[i]});
  }
  return found;
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

Chosen::Chosen(const Tensor& packed, int64_t count, const TopLogprobs& top) : count_(count) {
  host_ = host_copy(packed);
  if (top.ids.defined()) top_ = {host_copy(top.ids), host_copy(top.logprobs)};
  if (!packed.is_cuda()) return;
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
    if (top_.ids.defined()) token.top = top_of(top_, i);
  }
  return tokens;
}

Runner::Runner(CausalLm& model, Memory& memory, bool uses_graphs)
    : model_(model),
      memory_(memory),
      device_(model->head_weight().device()),
      records_(uses_graphs && can_capture(device_) && !why_no_step_kernels(model)),
      sampling_(make_sampling_state(memory.slots(), model->config().vocab_size,
                                    SamplingOptions::kMostBiases, device_,
                                    GenerateOptions::kMostBans)),
      extras_(static_cast<size_t>(memory.slots())),
      last_{torch::zeros({memory.slots()}, torch::TensorOptions(torch::kInt32).device(device_)),
            torch::zeros({memory.slots()}, torch::TensorOptions(torch::kInt32).device(device_))} {}

void Runner::start(int64_t slot, const GenerateOptions& options, std::span<const int32_t> prompt) {
  set_sampling(sampling_, slot, options, prompt);
  const SamplingOptions& sampling = options.sampling;
  extras_[static_cast<size_t>(slot)] = {
      .has_counts = sampling.presence_penalty != 0 || sampling.frequency_penalty != 0,
      .has_top = options.top_logprobs > 0};
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

Tensor Runner::prefill(const Lease& lease, const Tensor& ids, int64_t past) {
  if (!device_.is_cuda()) return prefill_rows(lease, ids, past);
  const Prefix prefix{.slot = lease.slot, .past = past, .pages = memory_.pages_of(lease)};
  const int64_t rows = records_ ? recorded_rows(ids.size(0)) : 0;
  if (rows == 0) return model_->prefill(ids, prefix, memory_.state());
  if (!prefill_memory_) prefill_memory_.emplace(device_);
  const auto place =
      prefills_.try_emplace(rows, model_, memory_.state(), *prefill_memory_, rows).first;
  return place->second.run(ids, prefix);
}

Chosen Runner::begin_answer(int64_t slot, int64_t prompt, const Tensor& residual, TokenMask* mask) {
  last_.positions[slot].fill_(prompt - 1);
  return choose({&slot, 1}, residual, {&mask, 1});
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

bool Runner::has_extras(std::span<const int64_t> slots) const {
  return std::ranges::any_of(slots, [&](int64_t slot) {
    const Extras& extras = extras_[static_cast<size_t>(slot)];
    return extras.has_counts || extras.has_top;
  });
}

Chosen Runner::choose(Batch& batch, const Tensor& logits, int64_t count, const RowMasks& masks) {
  const SampledTokens found = sample_tokens(logits, batch.slots, sampling_, masks);
  const bool has_top = std::ranges::any_of(
      batch.rows, [&](int64_t slot) { return extras_[static_cast<size_t>(slot)].has_top; });
  TopLogprobs top;
  if (has_top) top = top_logprobs(logits, batch.slots, sampling_, found);
  put_rows(batch.slots, found, last_, batch.packed);
  return {batch.packed, count, top};
}

Chosen Runner::choose(std::span<const int64_t> slots, const Tensor& residual,
                      std::span<TokenMask* const> masks) {
  const auto count = static_cast<int64_t>(slots.size());
  Batch& batch = batch_of(count);
  set_rows(batch, slots);
  const Tensor logits = model_->step_logits(residual);
  return choose(batch, logits, count, fill_masks(masks, count, logits.size(1), device_));
}

Tensor Runner::step_logits(Batch& batch) {
  const RowTokens rows = take_rows(batch.slots, last_);
  // A recording reads the whole table wherever it is; other forms may gather all that it names.
  const Tensor table = records_ ? memory_.page_table() : memory_.used_page_table();
  return model_->step_logits(model_->step(
      rows.ids, {.slots = batch.slots, .positions = rows.positions, .page_table = table},
      memory_.state()));
}

Runner::Batch& Runner::decode_batch(std::span<const int64_t> slots) {
  const auto count = static_cast<int64_t>(slots.size());
  Batch& batch = batch_of(device_.is_cuda() ? padded_rows(count) : count);
  set_rows(batch, slots);
  return batch;
}

Chosen Runner::decode(std::span<const int64_t> slots) {
  const torch::NoGradGuard no_grad;
  if (has_extras(slots)) {
    begin_decode(slots);
    return end_decode(slots, {});
  }
  Batch& batch = decode_batch(slots);
  run_step(batch);
  return {batch.packed, std::ssize(slots)};
}

void Runner::run_step(Batch& batch) {
  const auto step = [&] {
    put_rows(batch.slots, sample_tokens(step_logits(batch), batch.slots, sampling_), last_,
             batch.packed);
  };
  // The first run loads kernels and libraries, which a recording may not.
  if (records_ && batch.runs++ == 1) batch.graph.emplace(device_, step);
  if (batch.graph) {
    batch.graph->replay();
  } else {
    step();
  }
}

void Runner::warm_up(int64_t chunk) {
  if (!records_) return;
  const torch::NoGradGuard no_grad;
  for (int64_t rows = 0; rows < memory_.slots();) {
    rows = padded_rows(rows + 1);
    const std::vector<int64_t> nobody(static_cast<size_t>(rows), -1);
    for (int run = 0; run < 2; ++run) run_step(decode_batch(nobody));
  }
  const int64_t tokens = std::min({chunk, kMostRecordedRows, memory_.max_tokens()});
  auto lease = memory_.lease(std::min(chunk, memory_.max_tokens()));
  if (!lease) return;
  warm_up_prefills(*lease, tokens, chunk);
  memory_.release(std::move(*lease));
}

void Runner::warm_up_prefills(const Lease& lease, int64_t tokens, int64_t chunk) {
  const auto options = torch::TensorOptions(torch::kInt64).device(device_);
  start(lease.slot, {}, {});
  Tensor residual;
  for (int64_t rows = recorded_rows(1); rows <= tokens; rows = recorded_rows(rows + 1)) {
    for (int run = 0; run < 2; ++run) residual = prefill(lease, torch::zeros({rows}, options), 0);
    if (rows == kMostRecordedRows) break;
  }
  if (!residual.defined()) return;
  if (2 * recorded_rows(1) <= tokens) {  // behind a past there are other kernels
    residual = prefill(lease, torch::zeros({recorded_rows(1) - 1}, options), recorded_rows(1));
  }
  if (chunk > kMostRecordedRows && chunk <= memory_.max_tokens()) {
    residual = prefill(lease, torch::zeros({chunk}, options), 0);
  }
  begin_answer(lease.slot, tokens, residual).read();
}

void Runner::begin_decode(std::span<const int64_t> slots) {
  const torch::NoGradGuard no_grad;
  Batch& batch = decode_batch(slots);
  if (records_ && batch.begins++ == 1) {
    batch.forward.emplace(device_, [&] { batch.logits = step_logits(batch); });
  }
  if (batch.forward) {
    batch.forward->replay();
  } else {
    batch.logits = step_logits(batch);
  }
}

Chosen Runner::end_decode(std::span<const int64_t> slots, std::span<TokenMask* const> masks) {
  const torch::NoGradGuard no_grad;
  Batch& batch = decode_batch(slots);
  const int64_t rows = batch.slots.size(0), V = batch.logits.size(1);
  const Tensor logits = batch.forward ? batch.logits : std::exchange(batch.logits, Tensor());
  return choose(batch, logits, std::ssize(slots), fill_masks(masks, rows, V, device_));
}

}  // namespace hypenet
