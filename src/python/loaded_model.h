// A model on a thread of its own, for callers on any thread: their requests run side by side and
// join between steps; scores and logits are computed between two steps. No header of torch here.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/options.h"
#include "python/answer_queue.h"
#include "python/text_side.h"

struct DLManagedTensor;  // of DLPack

namespace hypenet {

class Engine;

struct LoadOptions {
  std::filesystem::path folder = {};  // or a GGUF file
  std::string device = "cpu";
  std::string type = "auto";                              // as `hypenet generate --dtype`
  std::string activations = "int8", cache_type = "auto";  // likewise
  int64_t threads = 0;        // of the process; 0: OMP_NUM_THREADS, or one a physical core
  int64_t memory_bytes = 0;   // for caches and states; 0: EngineOptions'
  int64_t max_context = 0;    // tokens of prompt and answer; 0: what the memory holds
  int64_t max_sequences = 0;  // side by side; 0: 16 on a CPU, 64 on a GPU
  bool keeps_prompts = true;  // so that a conversation's next turn goes on from the last
  std::string attn_logits_scaling = {};  // "hype 500", a number or "none"; empty: config.json's
};

/// What a model is, for people.
struct ModelAbout {
  std::filesystem::path folder;
  std::string device, type;
  Json config;             // the published keys
  int64_t vocab_size = 0;  // rows of the embedding
  int64_t made_for = 0;    // tokens: max_position_embeddings
  int64_t parameters = 0;
};

/// How the answers of a call end and what of them is told.
struct AnswerOptions {
  std::vector<std::string> stop = {};
  bool skip_special_tokens = true;
};

/// Whether what runs should end; asked often.
using Stopped = std::function<bool()>;

/// Called about every twentieth of a second on the caller's thread while it waits; may throw, which
/// stops the work and leaves the wait.
using WhileWaiting = std::function<void()>;

class LoadedModel {
 public:
  /// Opens the model; `tell` hears its notes. Throws Error as the program does, naming settings as
  /// LoadOptions' Python names ("device", "dtype").
  LoadedModel(const LoadOptions& options, const std::function<void(const std::string&)>& tell);
  /// As close().
  ~LoadedModel();
  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;

  const ModelAbout& about() const { return about_; }
  const std::shared_ptr<TextSide>& text() const { return text_; }

  /// Ends what runs and frees the model: whoever waits gets an Error. Waits for the step under way.
  void close();
  /// Whether it is open in this process; a fork's copy has no engine.
  bool is_open() const;

  /// Queues requests, whose answers come to the queue; those that have more tokens than fit are
  /// given fewer. Throws Error for a closed model and a prompt that leaves no room for an answer; a
  /// request that the engine refuses fails the queue.
  std::shared_ptr<AnswerQueue> submit(std::vector<Request> requests, const AnswerOptions& options,
                                      const WhileWaiting& meanwhile);
  /// Ends the answers of a call that still run. Its queue hears no more, if it has not ended.
  void cancel(const std::shared_ptr<AnswerQueue>& queue);

  /// Runs work between two steps on the engine's thread and waits for it; `alone`: when no answer
  /// is under way. What it throws is thrown here. Throws Error for a closed model, also one that is
  /// closed meanwhile.
  void run(bool alone, std::function<void(Engine&, const Stopped&)> work,
           const WhileWaiting& meanwhile);

  /// float32 logits [B, T, V] of ids [B][T], on the model's device, owned by the caller (whoever
  /// has it calls its deleter). Throws Error for no rows, rows of several lengths, and ids outside
  /// the vocabulary.
  DLManagedTensor* logits(const std::vector<std::vector<int32_t>>& ids,
                          const WhileWaiting& meanwhile);

  struct Impl;

 private:
  ModelAbout about_;
  std::shared_ptr<TextSide> text_;
  std::unique_ptr<Impl> impl_;
};

/// The same for numbers that are computed: float64 [n], or bool [n]. Owned by the caller.
DLManagedTensor* tensor_of(const std::vector<double>& values);
DLManagedTensor* tensor_of(const std::vector<bool>& values);

/// Gives a tensor that nobody took back.
void free_tensor(DLManagedTensor* tensor);

}  // namespace hypenet
