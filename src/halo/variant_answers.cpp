// The walk goes from the last layer down: what a variant overwrites of the keys and values, the
// layers from the replaced one on, no later variant needs.
#include "halo/variant_answers.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/memory.h"
#include "engine/runner.h"
#include "model/token_ids.h"

namespace hypenet {
namespace {

constexpr int64_t kPage = 64;  // tokens
constexpr int64_t kCpuBytes = int64_t{2} << 30;
constexpr int64_t kMostPrompts = 256;
constexpr int64_t kShareOfStates = 8;  // at most an eighth of the memory

int64_t tokens_of(const Request& request) {
  return static_cast<int64_t>(request.prompt.size()) + request.options.max_tokens;
}

int64_t pages_for(const Request& request) { return (tokens_of(request) + kPage - 1) / kPage; }

Tensor last_row(const Residual& h) { return h.sum()[0].slice(0, -1); }  // [1, D]

/// One call of VariantRespondent::generate.
class Generation {
 public:
  Generation(LayerVariants& variants, int64_t memory_bytes, std::span<const Request> requests,
             const AnswerUse& use);
  void run();

 private:
  struct Prompt {
    size_t request = 0;
    Lease lease = {};
    Tensor ids = {};  // int64 [1, T]
    Context context = {};
    Prefix prefix = {};
    std::vector<Tensor> inputs = {};  // of each layer, [1, T, D]
  };

  void take_memory(int64_t bytes);
  Prompt place(size_t request, Lease lease);
  Tensor prefill_teacher(Prompt& prompt);
  Tensor prefill_variant(const Prompt& prompt, int64_t variant);
  void answer(std::span<Prompt> batch, int64_t variant);
  void decode(std::span<Prompt* const> prompts, int64_t variant, const Tensor& residual);
  /// Of the layer that a variant replaces.
  LayerMemory& states_of(int64_t variant) {
    const auto& kinds = variants_.twins()->config().mixer_types;
    return states_.at(kinds[static_cast<size_t>(variant - 1)]);
  }
  bool goes_on(size_t request, int64_t variant, int32_t id, std::vector<int32_t>& answer) const;

  LayerVariants& variants_;
  CausalLm& teacher_;
  std::span<const Request> requests_;
  const AnswerUse& use_;
  std::optional<Memory> memory_;                    // the teacher's keys and values
  std::map<const MixerKind*, LayerMemory> states_;  // of the one layer that is replaced, by kind
};

Generation::Generation(LayerVariants& variants, int64_t memory_bytes,
                       std::span<const Request> requests, const AnswerUse& use)
    : variants_(variants), teacher_(variants.teacher()), requests_(requests), use_(use) {
  const auto device = teacher_->head_weight().device();
  const int64_t half = device.is_cuda() ? free_bytes(device).free / 2 : kCpuBytes;
  take_memory(memory_bytes > 0 ? memory_bytes : half);
}

/// No more than what the requests can use.
void Generation::take_memory(int64_t bytes) {
  const ModelConfig& config = teacher_->config();
  const ModelConfig& twins = variants_.twins()->config();
  const auto types = teacher_->memory_types();
  ModelConfig one_of_each = twins;
  one_of_each.mixer_types = kinds_of(twins);
  const int64_t state = slot_bytes(one_of_each, variants_.twins()->memory_types());
  const int64_t inputs = config.num_hidden_layers * kPage * config.hidden_size *
                         static_cast<int64_t>(c10::elementSize(teacher_->compute_type()));
  const int64_t cache = page_bytes(config, types, kPage);
  int64_t slots = std::clamp<int64_t>(bytes / kShareOfStates / state, 1, kMostPrompts);
  int64_t pages = (bytes - slots * state) / (cache + inputs), needed = 0;
  for (const Request& request : requests_) {
    HYPENET_CHECK(pages_for(request) <= pages,
                  "sweep: memory: expected room for a prompt and its answer of ",
                  request.prompt.size(), " + ", request.options.max_tokens, " tokens, found ",
                  pages * kPage, " tokens of ", (cache + inputs) / kPage, " bytes");
    needed += pages_for(request);
  }
  slots = std::min(slots, std::ssize(requests_)), pages = std::min(pages, needed);
  memory_.emplace(
      teacher_,
      EngineOptions{.memory_bytes = pages * cache, .max_sequences = slots, .page_tokens = kPage});
  const auto options = torch::TensorOptions(types.state).device(teacher_->head_weight().device());
  for (const MixerKind* const kind : one_of_each.mixer_types)
    states_.emplace(kind, new_states(*kind, twins, slots, options));
}

Generation::Prompt Generation::place(size_t request, Lease lease) {
  const auto& ids = requests_[request].prompt;
  HYPENET_CHECK(!ids.empty(), "sweep: expected a prompt of at least one token");
  check_ids("sweep", ids, teacher_->config().vocab_size);
  Prompt prompt{.request = request, .lease = std::move(lease)};
  prompt.ids = ids_tensor(ids, teacher_->head_weight().device()).unsqueeze(0);
  prompt.context = teacher_->context(prompt.ids);
  const Tensor pages = memory_->pages_of(prompt.lease);
  prompt.prefix = {.slot = prompt.lease.slot,
                   .pages = pages,
                   .places = places_in_pages(pages, prompt.context.positions, kPage)};
  return prompt;
}

Tensor Generation::prefill_teacher(Prompt& prompt) {
  Residual h = {teacher_->embed(prompt.ids)};
  for (int64_t i = 0; i < variants_.layers(); ++i) {
    prompt.inputs.push_back(h.sum());
    h = teacher_->layer(i)->prefill({prompt.inputs.back()}, prompt.context, prompt.prefix,
                                    memory_->state().layers[static_cast<size_t>(i)]);
  }
  return last_row(h);
}

Tensor Generation::prefill_variant(const Prompt& prompt, int64_t variant) {
  const int64_t replaced = variant - 1;
  LayerMemory& states = states_of(variant);
  std::get<RecurrentStates>(states).clear(prompt.lease.slot);
  Residual h = {prompt.inputs[static_cast<size_t>(replaced)]};
  for (int64_t i = replaced; i < variants_.layers(); ++i) {
    LayerMemory& memory = i == replaced ? states : memory_->state().layers[static_cast<size_t>(i)];
    h = variants_.block(variant, i)->prefill(h, prompt.context, prompt.prefix, memory);
  }
  return last_row(h);
}

/// Whether an answer goes on after one more token, which it gets unless that ends it.
bool Generation::goes_on(size_t request, int64_t variant, int32_t id,
                         std::vector<int32_t>& answer) const {
  const GenerateOptions& options = requests_[request].options;
  HYPENET_CHECK(id >= 0, "sweep: logits of ", name_of_variant(variant),
                ": expected finite numbers, found nan or infinity");
  if (std::ranges::find(options.stop_ids, id) != options.stop_ids.end()) return false;
  answer.push_back(id);
  const bool is_cut = use_.on_token && !use_.on_token(static_cast<size_t>(variant), request, id);
  return !is_cut && std::ssize(answer) < options.max_tokens;
}

void Generation::decode(std::span<Prompt* const> prompts, int64_t variant, const Tensor& residual) {
  CausalLm model = variants_.model(variant);
  Runner runner(model, *memory_, /*uses_graphs=*/false);
  std::vector<std::vector<int32_t>> answers(prompts.size());
  std::vector<size_t> going(prompts.size());
  std::iota(going.begin(), going.end(), size_t{0});
  std::vector<int64_t> slots;
  for (const Prompt* prompt : prompts) {
    slots.push_back(prompt->lease.slot);
    runner.place(slots.back(), prompt->ids.size(1) - 1, 0);
  }
  for (Chosen chosen = runner.choose(slots, residual);; chosen = runner.decode(slots)) {
    const auto tokens = chosen.read();
    const auto before = std::exchange(going, {});
    slots.clear();
    for (size_t row = 0; row < before.size(); ++row) {
      const size_t place = before[row];
      const Prompt& prompt = *prompts[place];
      if (!goes_on(prompt.request, variant, tokens[row].id, answers[place])) continue;
      going.push_back(place), slots.push_back(prompt.lease.slot);
    }
    if (use_.on_step) use_.on_step();
    if (going.empty()) break;
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    use_.on_answer(static_cast<size_t>(variant), prompts[i]->request, answers[i]);
  }
}

/// The teacher reads every prompt: the variants need what it keeps.
void Generation::answer(std::span<Prompt> batch, int64_t variant) {
  std::vector<Prompt*> wanted;
  std::vector<Tensor> last;
  for (Prompt& prompt : batch) {
    const bool is_wanted =
        !use_.is_wanted || use_.is_wanted(static_cast<size_t>(variant), prompt.request);
    if (!is_wanted && variant > 0) continue;
    const Tensor residual =
        variant == 0 ? prefill_teacher(prompt) : prefill_variant(prompt, variant);
    if (is_wanted) wanted.push_back(&prompt), last.push_back(residual);
  }
  if (wanted.empty()) return;
  auto& layers = memory_->state().layers;
  const auto swap_in = [&] {
    if (variant > 0) std::swap(layers[static_cast<size_t>(variant - 1)], states_of(variant));
  };
  swap_in();
  decode(wanted, variant, torch::cat(last));
  swap_in();
  if (use_.on_step) use_.on_step();
}

void Generation::run() {
  const torch::NoGradGuard no_grad;
  for (size_t next = 0; next < requests_.size();) {
    std::vector<Prompt> batch;
    while (next < requests_.size()) {
      auto lease = memory_->lease(tokens_of(requests_[next]));
      if (!lease) break;
      batch.push_back(place(next++, std::move(*lease)));
    }
    answer(batch, 0);
    for (int64_t variant = variants_.layers(); variant > 0; --variant) answer(batch, variant);
    for (Prompt& prompt : batch) memory_->release(std::move(prompt.lease));
  }
}

}  // namespace

int64_t VariantRespondent::batch_tokens() const {
  return batch_tokens_ > 0 ? batch_tokens_
                           : score_batch_tokens(variants_.teacher()->head_weight().device());
}

void VariantRespondent::score(std::span<const ScoredRow> rows, const RowBatches& batches,
                              const OnScores& on_scores) {
  score_variants(variants_.teacher(), rows, variants_.hidden(),
                 {.batches = &batches, .on_row = on_scores});
}

void VariantRespondent::generate(std::span<const Request> requests, const AnswerUse& use) {
  if (requests.empty()) return;
  Generation(variants_, memory_bytes_, requests, use).run();
}

}  // namespace hypenet
