// TokenMixer: what a block calls. What else the program must know of a mixer is mixer_kind.h.
#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "model/decode_state.h"
#include "model/linear.h"
#include "model/norm.h"
#include "model/token_tree.h"
#include "ops/rope.h"
#include "ops/row_parts.h"

namespace hypenet {

/// What a layer leaves for those behind it, token by token: all that crosses layers beside x.
struct LayerShare {
  Tensor first_values;  // RWKV-7's of the model's first layer, [.., H N]
};

/// What the layers of one forward share. Rows are aligned on the right (left padding only; CausalLm
/// sees to it).
struct Context {
  RopeAngles angles;   // of each position, [B, T, d/2]; or [T, d/2] when no row is padded
  Tensor positions;    // int64, [B, T] or [T] likewise: 0-based in the row's own tokens
  Tensor first_token;  // [B] int64: tokens of left padding; undefined when no row is padded
  Tensor valid;        // [B, T, 1] bool, false at padding; undefined when there is none here
  Tensor query_scale;  // float32 factor of attention queries, [B or 1, T, 1, 1]; undefined when off
  RowPartsPointer row = {};        // x holds this rank's part of each row; null: whole rows
  std::optional<TreePaths> paths;  // x is [1, N, D], the nodes of a tree; all else is of its rows
  std::shared_ptr<LayerShare> share = std::make_shared<LayerShare>();

  /// What a mixer mixes along: the rows of x, or of the tree whose nodes x holds.
  Tensor to_rows(const Tensor& x) const { return paths ? paths->to_rows(x) : x; }
  Tensor from_rows(const Tensor& y) const { return paths ? paths->to_nodes(y) : y; }
};

class PrefillRecorder;

/// Where a chunk of one sequence goes in a layer's memory.
struct Prefix {
  int64_t slot = 0, past = 0;  // its slot, and the tokens that it already holds
  Tensor pages = {};           // int64 [n]: its pages, in order
  Tensor places = {};          // int64 [T]: page * P + offset of each token of the chunk
  int64_t tokens = -1;         // T, the chunk's; rows behind them are nobody's. -1: all rows
  PrefillRecorder* recorder = nullptr;  // not null: the parts token by token are being recorded
};

/// Writes down what of a prefill runs anew for each chunk.
class PrefillRecorder {
 public:
  virtual ~PrefillRecorder() = default;
  virtual void aside(std::function<void(const Prefix& chunk)> work) = 0;
};

/// What the layers of an inference step share. Row n is the token at positions[n] of the sequence
/// in slots[n] (negative: padding); rows of one sequence stand in order, and on a GPU each sequence
/// has one row.
struct TokenRows {
  Tensor slots, positions;  // int32 [N]
  Tensor page_table;        // int32 [slots, pages of a sequence at most]
  RopeAngles angles = {};   // [N, d / 2]
  Tensor query_scale = {};  // [N] float32; undefined when off
  std::shared_ptr<LayerShare> share = std::make_shared<LayerShare>();
};

class TokenMixer : public torch::nn::Module {
 public:
  /// x [B, T, D] (after the input norm) -> [B, T, D], whole sequences; or the nodes of a tree of
  /// such (context.paths).
  virtual Tensor forward(const Tensor& x, const Context& context) = 0;

  /// The same for a chunk of one sequence, x [1, T, D]: reads what came before from `memory` and
  /// adds the chunk to it. All that looks along the sequence, or at `memory`, goes through
  /// along_sequence; the rest works token by token. No autograd.
  virtual Tensor prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                         LayerMemory& memory) = 0;

  /// The same for rows x [N, D] of an inference step: what the block adds to its residual. Reads
  /// and updates `memory`. No autograd.
  virtual StepOutput step(const Normed& x, const TokenRows& rows, LayerMemory& memory) = 0;

  /// Draws from torch's generator what a new model's parameters start as where that is neither
  /// N(0, 0.02) of two dimensions and more, nor what their layer or norm makes them. No autograd.
  virtual void draw_own_parameters() {}
};

/// y [1, T, ...] of inputs [1, T, ...], the T tokens of a chunk. It may be kept and called again
/// for other chunks, of other lengths.
using AlongSequence = std::function<Tensor(const std::vector<Tensor>& inputs, const Prefix& chunk)>;

/// compute(inputs, prefix) of the chunk's tokens in rows [1, n, ...]; y has the shape of inputs[0],
/// with anything in the rows that are nobody's.
Tensor along_sequence(const Prefix& prefix, const std::vector<Tensor>& inputs,
                      const AlongSequence& compute);

/// [B, T, heads d] -> [B, T, heads, d], a view.
Tensor split_heads(const Tensor& x, int64_t heads);

/// x [B, T, G, d] with each head `heads` / G times in place, [B, T, heads, d].
Tensor repeat_heads(const Tensor& x, int64_t heads);

/// x [B, T, heads, d], queries or keys, normed unless `norm` is empty and then rotated if
/// `rotates`.
Tensor norm_and_rotate(const Tensor& x, const RmsNorm& norm, bool rotates,
                       const RopeAngles& angles);

}  // namespace hypenet
