// The matrices of a model shared out over the ranks of a job (ZeRO stage 3, FSDP): each rank holds
// an equal part of every matrix, with its gradient and moments. A layer is gathered while the one
// before it computes; its gradients are summed into the parts while the backward goes on.

#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <memory>
#include <string>
#include <vector>

#include "model/causal_lm.h"
#include "ranks/ranks.h"
#include "store/tensor_parts.h"

namespace hypenet {

class ShardedWeights : public WeightKeeper {
 public:
  /// Which matrices are gathered before they are read; the others have to be read by nobody.
  enum class Gathered { kAll, kTrained };

  /// Shares out the model's matrices; its other parameters, less than a thousandth of all, stay
  /// whole on each rank. Of a model of which nothing is trained the embedding and the head stay
  /// whole, too. The model keeps the object, and has to outlive it.
  static std::shared_ptr<ShardedWeights> share_out(
      CausalLm& model, const std::shared_ptr<Communicator>& communicator,
      Gathered gathered = Gathered::kAll);

  ~ShardedWeights() override;
  ShardedWeights(const ShardedWeights&) = delete;
  ShardedWeights& operator=(const ShardedWeights&) = delete;

  /// This rank's parts of the matrices that are trained, float32. After finish() their grad() is
  /// the sum over ranks of all gradients since it was dropped last.
  const std::vector<TensorPart>& trained() const { return trained_; }

  /// The model's other parameters that are trained.
  const NamedTensors& whole() const { return whole_; }

  /// The gradients of a step are complete, and nothing is read until the next one.
  void finish();

  /// Brings up to date what is gathered, after a change of the parts.
  void refresh();

  /// Makes the matrices whole on every rank, as they were before share_out, and leaves the model.
  void make_whole();

  void before_forward() override;
  void before_layer(int64_t layer) override;
  void before_backward(int64_t layer) override;

 private:
  struct Matrix;
  struct Unit;
  struct Sums;
  class AfterGradient;

  ShardedWeights(CausalLm& model, std::shared_ptr<Communicator> communicator, Gathered gathered);

  Matrix take(const ModelMatrix& matrix);
  void lay_out(Unit& unit);
  void gather(Unit& unit);
  void use(Unit& unit);
  static void release(Unit& unit);
  void read(int64_t layer, int64_t next);
  void sum_gradients(Unit& unit);
  void settle_sums();

  CausalLmImpl& model_;
  std::shared_ptr<Communicator> communicator_;
  Gathered gathered_;
  int64_t layers_;
  std::vector<Unit> units_;  // the layers, the embedding, the head
  std::vector<TensorPart> trained_;
  NamedTensors whole_;
  std::unique_ptr<Sums> sums_;  // on their way
};

}  // namespace hypenet
