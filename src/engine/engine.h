// The engine: token ids in, token ids or scores out. One model, one thread; sequences join and
// leave between steps.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/options.h"
#include "engine/prefix_store.h"
#include "engine/saved_prefix.h"
#include "engine/scoring.h"
#include "model/causal_lm.h"

namespace hypenet {

/// What runs and what it holds, in tokens and bytes.
struct EngineStats {
  int64_t running = 0, waiting = 0, paused = 0;      // sequences; paused ones run, too
  int64_t slots = 0, slots_used = 0;                 // of sequences side by side
  int64_t pages = 0, pages_used = 0;                 // of page_tokens tokens; used by sequences
  int64_t pages_cached = 0;                          // used by kept prompts alone
  int64_t page_bytes = 0;                            // of one page, all layers
  int64_t state_bytes = 0;                           // of one sequence, all layers
  int64_t prefilled_tokens = 0, decoded_tokens = 0;  // since the start
  int64_t steps = 0, pauses = 0;                     // since the start
  CacheStats cache;
};

/// Runs a model for inference: gradients off, logits scaling as the model's config says. What a
/// sequence gets depends on its own tokens and settings only (docs/architecture.md, "The engine").
class Engine {
 public:
  /// Takes the model as it is; its device and parameter type stay. Memory is taken when the first
  /// request comes: scoring needs none.
  explicit Engine(CausalLm model, const EngineOptions& options = {});
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  const ModelConfig& config() const;
  /// With the defaults of this model and device in their places.
  const EngineOptions& options() const;
  torch::Device device() const;
  /// How rows meet packed weights, for those who compare bits: "rows of 8 bits" or "rows of
  /// float32"; empty where no weight is packed.
  std::string packed_arithmetic() const;
  EngineStats stats() const;

  /// Tokens of prompt and answer that a sequence may have, by max_context and by what the memory
  /// holds. Takes the memory; throws Error as the first submit does where it is too small.
  int64_t longest_sequence();

  /// Queues a request and returns its number. Throws Error for an empty prompt, an id outside the
  /// vocabulary, impossible settings, or a request that would not fit if it ran alone; the first
  /// one also with the numbers when EngineOptions do not hold every state and one page.
  int64_t submit(Request request);

  /// Ends a sequence; its memory is free at the next step. Unknown numbers are ignored.
  void cancel(int64_t sequence);

  /// Does beforehand what the first requests would wait for on a GPU: records steps and short
  /// prefills. Nothing may be under way.
  void warm_up();

  /// Runs one step: pieces of waiting prompts up to a chunk by turn, unless decode's share of the
  /// time is due, and one token of every running sequence. Returns what became known by it; on a
  /// GPU a step's tokens come with the next call. A sequence whose logits are not finite ends
  /// (FinishReason::kNotFinite), the others go on.
  std::vector<Event> step();

  /// Keeps prompts in a store, too, in at most so many bytes: what gives way in memory is written
  /// behind the steps, and brought back when a request wants it. What the store has already is
  /// known from here on. To be called once, before the first request; takes the memory. Throws
  /// Error where nothing is kept in memory, and as PrefixStore::list does.
  void use_store(std::shared_ptr<PrefixStore> store, int64_t most_bytes);

  /// Writes all that is kept to the store, if there is one, and waits until it is there.
  void store_kept();

  /// The beginnings of prompts that the store has.
  std::vector<StoredPrompt> stored_prompts() const;

  /// Forgets all kept prompts, those of the store, too; sequences that run are not touched.
  void clear_cache();

  /// What is kept of these tokens up to the deepest snapshot; nullopt: nothing is.
  std::optional<SavedPrefix> save_prefix(std::span<const int32_t> tokens, const std::string& salt);

  /// Keeps a prefix, in host memory where there is room, else on the device. Returns the tokens
  /// that can be reused now. Throws Error where sizes are not this model's.
  int64_t restore_prefix(const SavedPrefix& prefix, const std::string& salt);

  /// Whether nothing is left to run or tell.
  bool is_idle() const;

  /// Throws Error if what is held and what is free do not add up; for tests.
  void check() const;

  /// Runs all requests to their end, side by side; `on_token` sees (request, id) as they come and
  /// may return false to end that answer (the id counts). `stop` is asked before each step; true
  /// ends all answers there. Throws Error as submit does, when other sequences are under way, and
  /// for logits that are not finite; nothing stays queued then.
  std::vector<Completion> generate(std::span<const Request> requests,
                                   const std::function<bool(size_t, int32_t)>& on_token = {},
                                   const std::function<bool()>& stop = {});

  /// The same for one prompt: the ids of its answer.
  std::vector<int32_t> generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                                const std::function<bool(int32_t)>& on_token = {});

  /// Scores rows in batches; rows that begin alike share those tokens. Equal results for any
  /// batching within rounding. Only scored positions reach the head. Throws Error for a row without
  /// scored tokens or an id outside the vocabulary.
  RowScores score(std::span<const ScoredRow> rows, const ScoreOptions& options = {});

  /// Distinct tokens of a batch that fill the device.
  int64_t score_batch_tokens() const;

 private:
  struct Core;
  std::unique_ptr<Core> core_;
};

}  // namespace hypenet
