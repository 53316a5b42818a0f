// Which sequence runs when. On a GPU the host queues a step before it reads the tokens of the one
// before: a sequence that ended there computes one token too many, which nobody sees.
#include "engine/engine.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>

#include "base/error.h"
#include "engine/answers.h"
#include "engine/memory.h"
#include "engine/runner.h"
#include "engine/score.h"
#include "model/token_ids.h"

namespace hypenet {
namespace {

constexpr int64_t kGpuChunk = 8192, kCpuChunk = 256;
constexpr int64_t kMostAnswer = int64_t{1} << 24;  // tokens

struct Sequence {
  Request request;
  std::optional<Lease> lease;  // none while it waits
  Tensor prompt;               // int64 on the model's device
  bool is_stepped = false;     // its prompt goes through decode steps
  int64_t prefilled = 0;       // tokens of the prompt
  int64_t launched = 0;        // tokens of the answer that are queued, or known
  int64_t known = 0;           // tokens of the answer that were told

  int64_t prompt_tokens() const { return static_cast<int64_t>(request.prompt.size()); }
  int64_t tokens() const { return prompt_tokens() + request.options.max_tokens; }
};

constexpr int64_t kNobody = -1;  // in place of a sequence: its prompt goes on

/// Tokens under way, one a sequence; a sequence may have ended meanwhile.
struct Launch {
  std::vector<int64_t> sequences;
  Chosen chosen;
};

void check_request(const Request& request, int64_t vocab_size) {
  HYPENET_CHECK(!request.prompt.empty(),
                "generate: expected a prompt of at least one token, found none");
  check_ids("generate", request.prompt, vocab_size);
  const int64_t most = request.options.max_tokens;
  HYPENET_CHECK(most > 0 && most <= kMostAnswer, "generate: max_tokens: expected 1 to ",
                kMostAnswer, ", found ", most);
  check_sampling(request.options, vocab_size);
}

}  // namespace

struct Engine::Core {
  Core(CausalLm given, const EngineOptions& options) : model(std::move(given)), options(options) {
    const auto device = model->head_weight().device();
    if (this->options.prefill_chunk == 0) {
      this->options.prefill_chunk = device.is_cuda() ? kGpuChunk : kCpuChunk;
    }
    HYPENET_CHECK(this->options.prefill_chunk > 0,
                  "engine: prefill_chunk: expected at least 1, found ", options.prefill_chunk);
    model->begin_inference();
    const auto type = model->head_weight().scalar_type();
    const bool is_mixed =
        type == torch::kBFloat16 && model->compute_type() == torch::kFloat32 && !device.is_cuda();
    ComputePlan plan = model->plan();
    plan.has_copies |= type != plan.type && !is_mixed;
    model->prepare(plan);
  }

  /// Memory is taken when the first request comes: scoring needs none.
  void prepare() {
    if (runner) return;
    memory.emplace(model, options);
    runner.emplace(model, *memory, options.uses_graphs);
  }

  void admit();
  void start(const Sequence& sequence);
  bool feed(Sequence& sequence, std::vector<Runner::Fed>& fed);
  void prefill();
  void decode();
  void collect();
  void collect_all_but(size_t left);
  void launch(std::vector<int64_t> numbers, Chosen chosen);
  std::vector<TokenMask*> masks_of(const std::vector<int64_t>& numbers) const;
  void take(int64_t number, Chosen::Token token);
  void finish(int64_t number, FinishReason reason, Event event);

  CausalLm model;
  EngineOptions options;
  std::optional<Memory> memory;
  std::optional<Runner> runner;
  int64_t next_number = 0;
  std::map<int64_t, Sequence> sequences;  // by number, which is the order of arrival
  std::deque<Launch> launches;
  size_t unread = 0;  // of the launches, those of this step
  std::vector<Event> events;
  int64_t prefilled_tokens = 0, decoded_tokens = 0;
};

/// Leases in order of arrival: nobody overtakes a long one.
void Engine::Core::admit() {
  for (auto& [number, sequence] : sequences) {
    if (sequence.lease) continue;
    auto lease = memory->lease(sequence.tokens());
    if (!lease) return;
    sequence.lease = std::move(lease);
    sequence.is_stepped = sequence.prompt_tokens() <= options.stepped_prompt;
    if (sequence.is_stepped) continue;
    sequence.prompt = ids_tensor(sequence.request.prompt, model->head_weight().device());
    start(sequence);
  }
}

void Engine::Core::start(const Sequence& sequence) {
  runner->start(sequence.lease->slot, sequence.request.options, sequence.request.prompt);
}

/// The next token of a prompt that goes through the steps; whether it is the last one. What the
/// steps before choose is dropped, so the choosing starts there.
bool Engine::Core::feed(Sequence& sequence, std::vector<Runner::Fed>& fed) {
  const int64_t position = sequence.prefilled++;
  fed.push_back({.slot = sequence.lease->slot,
                 .position = position,
                 .token = sequence.request.prompt[static_cast<size_t>(position)]});
  ++prefilled_tokens;
  if (sequence.prefilled < sequence.prompt_tokens()) return false;
  start(sequence);
  return true;
}

/// About one chunk of prompts. Chunks begin at multiples of their size in each prompt, whoever else
/// is there.
void Engine::Core::prefill() {
  int64_t budget = options.prefill_chunk;
  for (auto& [number, sequence] : sequences) {
    if (sequence.is_stepped) continue;
    while (budget > 0 && sequence.lease && sequence.prefilled < sequence.prompt_tokens()) {
      const int64_t past = sequence.prefilled;
      const int64_t count = std::min(options.prefill_chunk, sequence.prompt_tokens() - past);
      const bool is_last = past + count == sequence.prompt_tokens();
      auto chosen = runner->prefill(*sequence.lease, sequence.prompt.narrow(0, past, count), past,
                                    is_last, sequence.request.options.mask.get());
      sequence.prefilled += count, prefilled_tokens += count, budget -= count;
      if (!chosen) continue;
      sequence.launched = 1;
      sequence.prompt = Tensor();
      launch({number}, std::move(*chosen));
    }
  }
}

void Engine::Core::decode() {
  std::vector<int64_t> numbers, slots;
  std::vector<Runner::Fed> fed;
  for (auto& [number, sequence] : sequences) {
    const bool is_fed = sequence.is_stepped && sequence.prefilled < sequence.prompt_tokens();
    const bool goes_on =
        sequence.launched > 0 && sequence.launched < sequence.request.options.max_tokens;
    if (!is_fed && !goes_on) continue;
    const bool is_answer = !is_fed || feed(sequence, fed);
    sequence.launched += is_answer ? 1 : 0;
    numbers.push_back(is_answer ? number : kNobody), slots.push_back(sequence.lease->slot);
  }
  if (numbers.empty()) return;
  if (!fed.empty()) runner->feed(fed);
  const auto masks = masks_of(numbers);
  if (std::ranges::all_of(masks, [](const TokenMask* mask) { return mask == nullptr; })) {
    return launch(numbers, runner->decode(slots));
  }
  // What may come next depends on the tokens before: while the device computes the logits they are
  // read, and ask for their masks.
  runner->begin_decode(slots);
  collect_all_but(0);
  launch(numbers, runner->end_decode(slots, masks_of(numbers)));
}

/// Of the sequences that did not end; null: none.
std::vector<TokenMask*> Engine::Core::masks_of(const std::vector<int64_t>& numbers) const {
  std::vector<TokenMask*> masks;
  for (const int64_t number : numbers) {
    const auto place = sequences.find(number);
    masks.push_back(place == sequences.end() ? nullptr : place->second.request.options.mask.get());
  }
  return masks;
}

void Engine::Core::launch(std::vector<int64_t> numbers, Chosen chosen) {
  launches.push_back({std::move(numbers), std::move(chosen)});
  ++unread;
}

void Engine::Core::collect_all_but(size_t left) {
  while (launches.size() > left) collect();
  unread = std::min(unread, launches.size());
}

void Engine::Core::collect() {
  Launch launch = std::move(launches.front());
  launches.pop_front();
  auto tokens = launch.chosen.read();
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (sequences.contains(launch.sequences[i])) take(launch.sequences[i], std::move(tokens[i]));
  }
}

void Engine::Core::take(int64_t number, Chosen::Token token) {
  if (token.id == kernels::kIdNoToken) return finish(number, FinishReason::kNoToken, {});
  if (token.id < 0) return finish(number, FinishReason::kNotFinite, {});
  Sequence& sequence = sequences.at(number);
  const auto& stops = sequence.request.options.stop_ids;
  if (std::find(stops.begin(), stops.end(), token.id) != stops.end()) {
    return finish(number, FinishReason::kStop, {});
  }
  ++sequence.known, ++decoded_tokens;
  if (sequence.request.options.mask) sequence.request.options.mask->accept(token.id);
  Event event{.sequence = number, .id = token.id, .logprob = token.logprob};
  event.top = std::move(token.top);
  if (sequence.known == sequence.request.options.max_tokens) {
    return finish(number, FinishReason::kLength, event);
  }
  events.push_back(event);
}

void Engine::Core::finish(int64_t number, FinishReason reason, Event event) {
  event.sequence = number, event.finish = reason;
  const auto place = sequences.find(number);
  if (place->second.lease) memory->release(std::move(*place->second.lease));
  sequences.erase(place);
  events.push_back(event);
}

Engine::Engine(CausalLm model, const EngineOptions& options)
    : core_(std::make_unique<Core>(std::move(model), options)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

const ModelConfig& Engine::config() const { return core_->model->config(); }

EngineStats Engine::stats() const {
  const auto types = core_->model->memory_types();
  EngineStats stats{.page_bytes = page_bytes(config(), types, core_->options.page_tokens),
                    .state_bytes = slot_bytes(config(), types),
                    .prefilled_tokens = core_->prefilled_tokens,
                    .decoded_tokens = core_->decoded_tokens};
  for (const auto& [number, sequence] : core_->sequences) {
    ++(sequence.lease ? stats.running : stats.waiting);
  }
  if (!core_->memory) return stats;
  stats.pages = core_->memory->pages();
  stats.pages_used = stats.pages - core_->memory->free_pages();
  return stats;
}

int64_t Engine::longest_sequence() {
  core_->prepare();
  return core_->memory->max_tokens();
}

int64_t Engine::submit(Request request) {
  check_request(request, config().vocab_size);
  core_->prepare();
  const int64_t number = core_->next_number++;
  Sequence sequence;
  sequence.request = std::move(request);
  core_->memory->check_fits(sequence.tokens());
  core_->sequences.emplace(number, std::move(sequence));
  return number;
}

void Engine::cancel(int64_t sequence) {
  if (core_->sequences.contains(sequence)) core_->finish(sequence, FinishReason::kCancelled, {});
}

std::vector<Event> Engine::step() {
  const torch::NoGradGuard no_grad;
  core_->unread = 0;
  if (!core_->sequences.empty()) {
    core_->admit();
    core_->prefill();
    core_->decode();
  }
  const bool is_gpu = core_->model->head_weight().is_cuda();
  core_->collect_all_but(is_gpu ? core_->unread : 0);
  return std::exchange(core_->events, {});
}

bool Engine::is_idle() const {
  return core_->sequences.empty() && core_->launches.empty() && core_->events.empty();
}

std::vector<Completion> Engine::generate(std::span<const Request> requests,
                                         const std::function<bool(size_t, int32_t)>& on_token,
                                         const std::function<bool()>& stop) {
  HYPENET_CHECK(is_idle(), "generate: expected no other sequences under way, found ",
                core_->sequences.size());
  std::vector<Completion> completions(requests.size());
  Answers answers(*this);
  for (size_t i = 0; i < requests.size(); ++i) {
    answers.add(
        requests[i], [&, i](const Event& event) { return !on_token || on_token(i, event.id); },
        [&, i](Completion answer) {
          check_finite(concat("engine: logits of request ", i), answer);
          completions[i] = std::move(answer);
        });
  }
  do {
    if (stop && stop()) answers.stop_all();
  } while (answers.step());
  return completions;
}

std::vector<int32_t> Engine::generate(std::span<const int32_t> prompt,
                                      const GenerateOptions& options,
                                      const std::function<bool(int32_t)>& on_token) {
  const Request request{{prompt.begin(), prompt.end()}, options};
  const auto completions =
      generate({&request, 1}, [&](size_t, int32_t id) { return !on_token || on_token(id); });
  return completions.front().ids;
}

int64_t Engine::score_batch_tokens() const {
  return hypenet::score_batch_tokens(core_->model->head_weight().device());
}

RowScores Engine::score(std::span<const ScoredRow> rows, const ScoreOptions& options) {
  const HiddenVariants only = [&](const TokenTree& tree, const auto& emit) {
    emit(core_->model->hidden(tree));
  };
  VariantScoring scoring{.batch_tokens = options.batch_tokens, .batches = options.batches};
  if (options.on_row) {
    scoring.on_row = [&](size_t, size_t row, const auto& scores) { options.on_row(row, scores); };
  }
  auto scores = score_variants(core_->model, rows, only, scoring);
  return scores.empty() ? RowScores() : std::move(scores.front());
}

}  // namespace hypenet
