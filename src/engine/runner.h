// Queues the engine's work on the device: chunks of prompts, and steps of many sequences, recorded
// as graphs on a GPU. What a sequence's next token is stays on the device; the host reads it later.
#pragma once

#include <c10/core/Event.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/memory.h"
#include "engine/row_masks.h"
#include "engine/sampling.h"
#include "model/causal_lm.h"
#include "model/prefill_recording.h"
#include "ops/graph.h"
#include "ops/slot_rows.h"
#include "ops/top_logprobs.h"

namespace hypenet {

/// Tokens that were chosen, on their way to the host.
class Chosen {
 public:
  /// The first `count` of packed int32 [2, N] on any device: ids, and the bits of their
  /// log-probabilities (ops/slot_rows.h); and of `top`, if that is not empty. The copies are queued
  /// behind what writes them.
  Chosen(const Tensor& packed, int64_t count, const TopLogprobs& top = {});

  struct Token {
    int32_t id;
    float logprob;
    std::vector<TokenLogprob> top;
  };
  /// Waits for the device.
  std::vector<Token> read();

 private:
  Tensor host_;  // int32 [2, N]
  int64_t count_;
  TopLogprobs top_;  // on the host
  std::optional<c10::Event> is_here_;
};

/// Why a GPU would run steps of this model as tensor code, if it would: its type, or a kind of
/// layer.
std::optional<std::string> why_no_step_kernels(const CausalLm& model);

class Runner {
 public:
  Runner(CausalLm& model, Memory& memory, bool uses_graphs);

  /// On a GPU, records and plans what the first requests would wait for: steps of every padded
  /// number of rows, and prefills of every recorded one and of `chunk` tokens. Takes a second or
  /// two. To be called while nothing runs.
  void warm_up(int64_t chunk);

  /// Before a slot's first chunk.
  void start(int64_t slot, const GenerateOptions& options, std::span<const int32_t> prompt);

  /// A piece of a sequence's prompt, int64 [T] on the model's device, after `past` tokens. Returns
  /// the residual [1, D] after its last token.
  Tensor prefill(const Lease& lease, const Tensor& ids, int64_t past);

  /// The first token of the answer to a prompt of so many tokens, from the residual after it, as
  /// `mask` allows (null: any).
  Chosen begin_answer(int64_t slot, int64_t prompt, const Tensor& residual,
                      TokenMask* mask = nullptr);

  /// The tokens that these slots' next steps begin with, whatever was chosen before.
  struct Fed {
    int64_t slot, position;
    int32_t token;
  };
  void feed(std::span<const Fed> fed);

  /// As if the slot held `position` tokens and `token` came next; to measure without a prefill.
  void place(int64_t slot, int64_t position, int32_t token);

  /// The tokens that follow these sequences' residuals [N, D], one each, as `masks` allow (one
  /// each, null: any; or none at all); `place` or `feed` said where they are.
  Chosen choose(std::span<const int64_t> slots, const Tensor& residual,
                std::span<TokenMask* const> masks = {});

  /// One token more of each of these sequences.
  Chosen decode(std::span<const int64_t> slots);

  /// The same in two parts, between which the host reads the tokens of the step before, on which
  /// masks depend: queues all but the choice, then asks the rows' masks (null: none) and queues
  /// that. Bits are those of `decode`.
  void begin_decode(std::span<const int64_t> slots);
  Chosen end_decode(std::span<const int64_t> slots, std::span<TokenMask* const> masks);

 private:
  /// The rows of a step, in the memory that its recording reads.
  struct Batch {
    Tensor slots;               // int32 [N], -1 in rows that are padding
    Tensor packed;              // int32 [2, N], as in Chosen
    std::vector<int64_t> rows;  // the slots that are there now
    int64_t runs = 0;
    std::optional<Graph> graph;  // of a whole step
    int64_t begins = 0;
    std::optional<Graph> forward;  // of a step's first part
    Tensor logits;                 // float32 [N, V], between the parts
  };
  /// What a slot's choices need beside the recorded ones.
  struct Extras {
    bool has_counts = false, has_top = false;
  };
  Batch& batch_of(int64_t rows);
  void set_rows(Batch& batch, std::span<const int64_t> slots);
  Batch& decode_batch(std::span<const int64_t> slots);
  void run_step(Batch& batch);
  void warm_up_prefills(const Lease& lease, int64_t tokens, int64_t chunk);
  bool has_extras(std::span<const int64_t> slots) const;
  Tensor step_logits(Batch& batch);
  Chosen choose(Batch& batch, const Tensor& logits, int64_t count, const RowMasks& masks);
  Tensor prefill_rows(const Lease& lease, const Tensor& ids, int64_t past);

  CausalLm& model_;
  Memory& memory_;
  torch::Device device_;
  bool records_;
  SamplingState sampling_;
  std::vector<Extras> extras_;  // of the slots
  SlotTokens last_;
  std::map<int64_t, Batch> batches_;  // by their rows
  std::optional<GraphMemory> prefill_memory_;
  std::map<int64_t, PrefillRecording> prefills_;  // likewise
};

}  // namespace hypenet
