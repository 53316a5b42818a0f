// What users of the engine call; what it does stands in core.h.
#include "engine/engine.h"

#include <algorithm>

#include "base/error.h"
#include "engine/answers.h"
#include "engine/core.h"
#include "engine/score.h"
#include "model/token_ids.h"

namespace hypenet {
namespace {

constexpr int64_t kGpuChunk = 8192, kCpuChunk = 256;
constexpr int64_t kMostAnswer = int64_t{1} << 24;  // tokens

void check_request(const Request& request, int64_t vocab_size) {
  HYPENET_CHECK(!request.prompt.empty(),
                "generate: expected a prompt of at least one token, found none");
  check_ids("generate", request.prompt, vocab_size);
  check_marks(request.marks, static_cast<int64_t>(request.prompt.size()));
  const int64_t most = request.options.max_tokens;
  HYPENET_CHECK(most > 0 && most <= kMostAnswer, "generate: max_tokens: expected 1 to ",
                kMostAnswer, ", found ", most);
  check_sampling(request.options, vocab_size);
}

void check_options(const EngineOptions& options) {
  HYPENET_CHECK(options.prefill_chunk > 0, "engine: prefill_chunk: expected at least 1, found ",
                options.prefill_chunk);
  HYPENET_CHECK(options.grid_min >= 0, "engine: grid_min: expected at least 0, found ",
                options.grid_min);
  HYPENET_CHECK(options.reserved_answer > 0, "engine: reserved_answer: expected at least 1, found ",
                options.reserved_answer);
  HYPENET_CHECK(options.decode_share >= 0 && options.decode_share < 1,
                "engine: decode_share: expected 0 to below 1, found ", options.decode_share);
}

}  // namespace

Engine::Core::Core(CausalLm given, const EngineOptions& options)
    : model(std::move(given)), options(options), share(0) {
  const auto device = model->head_weight().device();
  if (this->options.prefill_chunk == 0) {
    this->options.prefill_chunk = device.is_cuda() ? kGpuChunk : kCpuChunk;
  }
  if (!this->options.reuse) {
    this->options.reuse = device.is_cuda() ? ReuseMode::kExact : ReuseMode::kNearest;
  }
  check_options(this->options);
  share = DecodeShare(options.decode_share);
  model->begin_inference();
  const auto type = model->head_weight().scalar_type();
  const bool is_mixed =
      type == torch::kBFloat16 && model->compute_type() == torch::kFloat32 && !device.is_cuda();
  ComputePlan plan = model->plan();
  plan.has_copies |= type != plan.type && !is_mixed;
  model->prepare(plan);
}

void Engine::Core::prepare() {
  if (runner) return;
  memory.emplace(model, options);
  runner.emplace(model, *memory, options.uses_graphs);
  if (options.cache_bytes == 0 && options.cache_host_bytes == 0) return;
  const auto types = model->memory_types();
  cache.emplace(
      *memory, options,
      PrefixTree::Sizes{.page_tokens = options.page_tokens,
                        .page_bytes = page_bytes(model->config(), types, options.page_tokens),
                        .state_bytes = slot_bytes(model->config(), types)});
}

ReuseMode Engine::Core::mode_of(const Request& request) const {
  if (!cache) return ReuseMode::kOff;
  if (request.reuse) return *request.reuse;
  return *options.reuse;
}

Engine::Engine(CausalLm model, const EngineOptions& options)
    : core_(std::make_unique<Core>(std::move(model), options)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

const ModelConfig& Engine::config() const { return core_->model->config(); }

const EngineOptions& Engine::options() const { return core_->options; }

std::string Engine::packed_arithmetic() const {
  for (const ModelMatrix& matrix : core_->model->matrices()) {
    if (!matrix.weight->packed) continue;
    const bool rounds = matrix.weight->packed->activations == Activations::kInt8;
    return rounds ? "rows of 8 bits" : "rows of float32";
  }
  return "";
}

torch::Device Engine::device() const { return core_->model->head_weight().device(); }

EngineStats Engine::stats() const {
  const auto types = core_->model->memory_types();
  EngineStats stats = core_->counted;
  stats.page_bytes = page_bytes(config(), types, core_->options.page_tokens);
  stats.state_bytes = slot_bytes(config(), types);
  for (const auto& [number, sequence] : core_->sequences) {
    ++(sequence.lease ? stats.running : stats.waiting);
    stats.paused += sequence.is_paused ? 1 : 0;
  }
  if (!core_->memory) return stats;
  const Memory& memory = *core_->memory;
  stats.slots = memory.slots();
  stats.slots_used = stats.slots - memory.free_slots();
  stats.pages = memory.pages();
  if (core_->cache) {
    const CacheStats counted = stats.cache;
    stats.cache = core_->cache->stats();
    stats.cache.queried_tokens = counted.queried_tokens;
    stats.cache.device_hit_tokens = counted.device_hit_tokens;
    stats.cache.host_hit_tokens = counted.host_hit_tokens;
    stats.cache.disk_hit_tokens = counted.disk_hit_tokens;
    stats.cache.misses = counted.misses;
    stats.pages_cached = core_->cache->pages_kept_alone();
  }
  stats.pages_used = stats.pages - memory.free_pages() - stats.pages_cached;
  return stats;
}

int64_t Engine::longest_sequence() {
  core_->prepare();
  return core_->memory->max_tokens();
}

void Engine::warm_up() {
  HYPENET_CHECK(is_idle(), "engine: warm-up: expected no sequences, found ",
                core_->sequences.size());
  core_->prepare();
  core_->runner->warm_up(core_->options.prefill_chunk);
}

int64_t Engine::submit(Request request) {
  check_request(request, config().vocab_size);
  core_->prepare();
  Sequence sequence;
  sequence.request = std::move(request);
  core_->memory->check_fits(sequence.tokens());
  const EngineOptions& options = core_->options;
  sequence.mode = core_->mode_of(sequence.request);
  sequence.cuts = prefill_cuts(sequence.prompt_tokens(), sequence.request.marks,
                               {.chunk = options.prefill_chunk, .least = options.grid_min});
  sequence.is_stepped = sequence.prompt_tokens() <= options.stepped_prompt;
  if (sequence.is_stepped) sequence.mode = ReuseMode::kOff;  // its bits are decode's
  sequence.report->queued = std::chrono::steady_clock::now();
  sequence.report->prompt = sequence.prompt_tokens();
  sequence.report->mode = sequence.mode;
  const int64_t number = core_->next_number++;
  core_->sequences.emplace(number, std::move(sequence));
  return number;
}

void Engine::cancel(int64_t sequence) {
  const torch::NoGradGuard no_grad;
  if (core_->sequences.contains(sequence)) core_->finish(sequence, FinishReason::kCancelled, {});
}

std::vector<Event> Engine::step() {
  const torch::NoGradGuard no_grad;
  core_->unread = 0;
  if (!core_->sequences.empty()) {
    ++core_->counted.steps;
    if (core_->cache) core_->cache->take_from_disk();
    core_->admit();
    core_->wait_for_disk();
    core_->prefill();
    core_->decode();
  }
  core_->collect_all_but(core_->is_cuda() ? core_->unread : 0);
  return std::exchange(core_->events, {});
}

void Engine::use_store(std::shared_ptr<PrefixStore> store, int64_t most_bytes) {
  core_->prepare();
  HYPENET_CHECK(core_->cache, "a store of kept prompts: expected an engine that keeps prompts");
  core_->cache->use_store(std::move(store), most_bytes);
}

void Engine::store_kept() {
  const torch::NoGradGuard no_grad;
  if (core_->cache) core_->cache->store_all();
}

std::vector<StoredPrompt> Engine::stored_prompts() const {
  const bool has_store = core_->cache && core_->cache->has_store();
  return has_store ? core_->cache->stored_prompts() : std::vector<StoredPrompt>();
}

void Engine::clear_cache() {
  if (core_->cache) core_->cache->clear();
}

std::optional<SavedPrefix> Engine::save_prefix(std::span<const int32_t> tokens,
                                               const std::string& salt) {
  return core_->cache ? core_->cache->save(tokens, salt) : std::nullopt;
}

int64_t Engine::restore_prefix(const SavedPrefix& prefix, const std::string& salt) {
  const torch::NoGradGuard no_grad;
  core_->prepare();
  HYPENET_CHECK(core_->cache, "restore: expected an engine that keeps prompts");
  return core_->cache->restore(prefix, salt);
}

void Engine::check() const {
  if (core_->memory) core_->check();
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
