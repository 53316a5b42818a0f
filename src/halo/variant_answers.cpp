// The walk goes from the last layer down: what a variant overwrites of the keys and values, the
// layers from the replaced one on, no later variant needs.
#include "halo/variant_answers.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr int64_t kPage = 64;  // tokens
constexpr int64_t kCpuBytes = int64_t{2} << 30;
constexpr int64_t kMostPrompts = 256;
constexpr int64_t kShareOfStates = 8;  // at most an eighth of the memory

int64_t pages_for(const AnswerPrompt& prompt) {
  return (static_cast<int64_t>(prompt.ids.size()) + prompt.max_tokens + kPage - 1) / kPage;
}

/// Gives back what the allocator of a GPU holds and no tensor uses.
void free_unused(torch::Device device) {
  if (device.is_cuda()) c10::getDeviceAllocator(device.type())->emptyCache();
}

int64_t budget(int64_t asked, torch::Device device) {
  if (asked > 0) return asked;
  if (!device.is_cuda()) return kCpuBytes;
  free_unused(device);  // what was scored before has left memory behind
  const auto [free, total] = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index());
  return static_cast<int64_t>(free) / 2;
}

Tensor int32_tensor(const std::vector<int64_t>& values, torch::Device device) {
  return torch::tensor(values, torch::kInt64).to(torch::kInt32).to(device);
}

Tensor last_row(const Residual& h) { return h.sum()[0].slice(0, -1); }  // [1, D]

}  // namespace

VariantGenerator::VariantGenerator(LayerVariants& variants, int64_t memory_bytes)
    : variants_(variants),
      memory_bytes_(budget(memory_bytes, variants.teacher()->head_weight().device())) {
  const ModelConfig& twins = variants.twins()->config();
  const int64_t state =
      slot_bytes(twins, variants.twins()->memory_types()) / twins.num_hidden_layers;
  most_prompts_ = std::clamp<int64_t>(memory_bytes_ / kShareOfStates / state, 1, kMostPrompts);
  memory_bytes_ -= most_prompts_ * state;
}

int64_t VariantGenerator::bytes_of_page() const {
  const ModelConfig& config = variants_.teacher()->config();
  const int64_t element =
      static_cast<int64_t>(c10::elementSize(variants_.teacher()->compute_type()));
  return page_bytes(config, variants_.teacher()->memory_types(), kPage) +
         config.num_hidden_layers * kPage * config.hidden_size * element;
}

size_t VariantGenerator::fitting(std::span<const AnswerPrompt> prompts) const {
  const int64_t most = memory_bytes_ / bytes_of_page();
  int64_t pages = 0;
  size_t count = 0;
  while (count < std::min(prompts.size(), static_cast<size_t>(most_prompts_))) {
    pages += pages_for(prompts[count]);
    if (pages > most) break;
    ++count;
  }
  HYPENET_CHECK(count > 0, "sweep: memory: expected room for a prompt and its answer of ",
                prompts.empty() ? 0 : prompts[0].ids.size(), " + ",
                prompts.empty() ? 0 : prompts[0].max_tokens, " tokens, found ", most * kPage,
                " tokens of ", bytes_of_page() / kPage, " bytes");
  return count;
}

void VariantGenerator::reserve(std::span<const AnswerPrompt> prompts) {
  int64_t pages = 0;
  for (const AnswerPrompt& prompt : prompts) pages += pages_for(prompt);
  auto slots = static_cast<int64_t>(prompts.size());
  if (state_) {
    if (pages <= state_->sizes.pages && slots <= state_->sizes.slots) return;
    pages = std::max(pages, state_->sizes.pages), slots = std::max(slots, state_->sizes.slots);
    // What was there goes first.
    state_.reset(), states_ = {}, inputs_ = Tensor();
    free_unused(variants_.teacher()->head_weight().device());
  }
  CausalLm& teacher = variants_.teacher();
  const ModelConfig& config = teacher->config();
  const ModelConfig& twins = variants_.twins()->config();
  const auto types = teacher->memory_types();
  const auto device = teacher->head_weight().device();
  state_.emplace(config, MemorySizes{slots, pages, kPage}, types, device);
  states_ = new_states(*twins.mixer_types.front(), twins, slots,
                       torch::TensorOptions(types.state).device(device));
  inputs_ = torch::empty({config.num_hidden_layers, pages * kPage, config.hidden_size},
                         torch::TensorOptions(teacher->compute_type()).device(device));
  sampling_ = make_sampling_state(slots, config.vocab_size, 1, device);
}

std::vector<VariantGenerator::Place> VariantGenerator::place(
    std::span<const AnswerPrompt> prompts) {
  CausalLm& teacher = variants_.teacher();
  const auto device = teacher->head_weight().device();
  int64_t widest = 0, next_page = 0;
  for (const AnswerPrompt& prompt : prompts) widest = std::max(widest, pages_for(prompt));
  const Tensor table = torch::zeros({state_->sizes.slots, widest}, torch::kInt32);
  std::vector<Place> places;
  places.reserve(prompts.size());
  for (const AnswerPrompt& prompt : prompts) {
    HYPENET_CHECK(!prompt.ids.empty(), "sweep: expected a prompt of at least one token");
    check_ids("sweep", prompt.ids, teacher->config().vocab_size);
    const int64_t pages = pages_for(prompt);
    Place place{.slot = static_cast<int64_t>(places.size()),
                .first_token = next_page * kPage,
                .tokens = static_cast<int64_t>(prompt.ids.size())};
    place.ids = ids_tensor(prompt.ids, device).unsqueeze(0);
    place.step = teacher->step(place.ids);
    const Tensor numbers = torch::arange(next_page, next_page + pages);
    place.prefix = {.slot = place.slot,
                    .pages = numbers.to(device),
                    .places = place.step.positions + place.first_token};
    table[place.slot].narrow(0, 0, pages).copy_(numbers);
    next_page += pages;
    places.push_back(std::move(place));
  }
  page_table_ = table.to(device);
  return places;
}

Tensor VariantGenerator::inputs_of(const Place& place, int64_t layer) const {
  return inputs_[layer].narrow(0, place.first_token, place.tokens).unsqueeze(0);
}

Tensor VariantGenerator::prefill_teacher(const Place& place) {
  CausalLm& teacher = variants_.teacher();
  Residual h = {teacher->embed(place.ids)};
  for (int64_t i = 0; i < variants_.layers(); ++i) {
    const Tensor kept = inputs_of(place, i);
    kept.copy_(h.sum());
    h = teacher->layer(i)->prefill({kept}, place.step, place.prefix,
                                   state_->layers[static_cast<size_t>(i)]);
  }
  return last_row(h);
}

Tensor VariantGenerator::prefill_variant(const Place& place, int64_t variant) {
  const int64_t replaced = variant - 1;
  states_.clear(place.slot);
  LayerMemory states = states_;
  Residual h = {inputs_of(place, replaced)};
  for (int64_t i = replaced; i < variants_.layers(); ++i) {
    LayerMemory& memory = i == replaced ? states : state_->layers[static_cast<size_t>(i)];
    h = variants_.block(variant, i)->prefill(h, place.step, place.prefix, memory);
  }
  return last_row(h);
}

std::vector<int32_t> VariantGenerator::choose(const Tensor& residual,
                                              const std::vector<int64_t>& slots, int64_t variant) {
  CausalLm& teacher = variants_.teacher();
  const Tensor rows = int32_tensor(slots, residual.device());
  const Tensor found =
      sample_tokens(teacher->step_logits(residual), rows, sampling_).ids.to(torch::kCPU);
  const int32_t* ids = found.const_data_ptr<int32_t>();
  std::vector<int32_t> chosen(ids, ids + found.size(0));
  HYPENET_CHECK(std::find(chosen.begin(), chosen.end(), -1) == chosen.end(), "sweep: logits of ",
                name_of_variant(variant), ": expected finite numbers, found nan or infinity");
  return chosen;
}

std::vector<std::vector<int32_t>> VariantGenerator::decode(std::span<const AnswerPrompt> prompts,
                                                           int64_t variant, Tensor residual,
                                                           const Ends& ends) {
  CausalLm model = variants_.model(variant);
  DecodeState state = *state_;
  if (variant > 0) state.layers[static_cast<size_t>(variant - 1)] = states_;
  std::vector<std::vector<int32_t>> answers(prompts.size());
  std::vector<int64_t> slots(prompts.size());
  std::iota(slots.begin(), slots.end(), int64_t{0});
  while (true) {
    const std::vector<int32_t> chosen = choose(residual, slots, variant);
    std::vector<int64_t> going, positions, ids;
    for (size_t row = 0; row < slots.size(); ++row) {
      const auto prompt = static_cast<size_t>(slots[row]);
      auto& answer = answers[prompt];
      answer.push_back(chosen[row]);
      const auto length = static_cast<int64_t>(answer.size());
      if (length == prompts[prompt].max_tokens || ends(prompt, answer)) continue;
      going.push_back(slots[row]), ids.push_back(chosen[row]);
      positions.push_back(static_cast<int64_t>(prompts[prompt].ids.size()) + length - 1);
    }
    if (going.empty()) return answers;
    slots = std::move(going);
    const auto device = residual.device();
    residual = model->step(int32_tensor(ids, device),
                           {.slots = int32_tensor(slots, device),
                            .positions = int32_tensor(positions, device),
                            .page_table = page_table_},
                           state);
  }
}

void VariantGenerator::generate(std::span<const AnswerPrompt> prompts,
                                const std::vector<bool>& is_wanted, const Ends& ends,
                                const Use& use) {
  const torch::NoGradGuard no_grad;
  reserve(prompts);
  const std::vector<Place> places = place(prompts);
  const auto answer = [&](int64_t variant) {
    std::vector<Tensor> last;
    last.reserve(places.size());
    for (const Place& place : places) {
      last.push_back(variant == 0 ? prefill_teacher(place) : prefill_variant(place, variant));
    }
    if (!is_wanted[static_cast<size_t>(variant)]) return;
    use(variant, decode(prompts, variant, torch::cat(last), ends));
  };
  answer(0);
  for (int64_t variant = variants_.count() - 1; variant > 0; --variant) {
    if (is_wanted[static_cast<size_t>(variant)]) answer(variant);
  }
}

}  // namespace hypenet
