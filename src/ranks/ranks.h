// The processes of one job. Each computes its share of every step's sequences; sums over ranks make
// the results one.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

namespace hypenet {

using torch::Tensor;

/// This process's place in the job.
struct Ranks {
  int64_t index = 0, count = 1;

  /// Whether this rank is the one that writes files and reports.
  bool is_first() const { return index == 0; }

  /// The first of this rank's rows, of `rows` that all ranks share; its last is before
  /// first_row of the next rank. Shares differ by one row at most.
  int64_t first_row(int64_t rows) const { return rows * index / count; }
  int64_t end_row(int64_t rows) const { return rows * (index + 1) / count; }
};

/// Thrown where a rank cannot go on because another one failed, which has been told already.
class OtherRankFailed : public Error {
 public:
  using Error::Error;
};

/// How ranks talk. Every rank makes the same calls in the same order.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual Ranks ranks() const = 0;

  /// Replaces each tensor by its sum over the ranks, the same bits on each. Queued on the device's
  /// stream; on a GPU it does not wait for the device and may be recorded in a graph.
  virtual void sum(const std::vector<Tensor>& tensors) = 0;

  /// To be called once, before what a collective gives is read and before what it was given is
  /// changed. On a GPU the current stream waits, and not the host.
  using Wait = std::function<void()>;

  /// From now on waits for other ranks' tensors, in this group and in those that were split off,
  /// run inside this; empty: as they are. One process has none.
  virtual void around_waits(const std::function<void(const Wait&)>& /*around*/) {}

  /// Begins to fill each whole [count * n] with the parts [n] of all ranks in their order, beside
  /// what the device's stream does next. Parts and wholes of one type, on one device; the lists
  /// have equal lengths.
  virtual Wait gather(const std::vector<Tensor>& wholes, const std::vector<Tensor>& parts) = 0;

  /// Begins to fill each part [n] with this rank's part of the sum over ranks of a whole
  /// [count * n], which is spent; else as gather.
  virtual Wait sum_parts(const std::vector<Tensor>& parts, const std::vector<Tensor>& wholes) = 0;

  /// The communicator of this rank's group: of `size` ranks that follow each other; size divides
  /// their number. All ranks call it. This one has to be there for as long.
  virtual std::shared_ptr<Communicator> split(int64_t size) = 0;

  /// Whether `here` is true on any rank; between hosts, without a look at the device.
  virtual bool any(bool here) = 0;

  /// The largest number that a rank gives; as any().
  virtual int64_t most(int64_t here) = 0;

  /// The bytes of each rank, in the order of the ranks; between hosts, without a look at the
  /// device.
  virtual std::vector<std::string> gather_bytes(const std::string& bytes) = 0;

  /// Returns when all ranks have come here.
  virtual void barrier() = 0;

  /// Throws Error on each rank whose text differs from the first rank's: "NAME: expected the first
  /// rank's ..., found ...", where they begin to differ.
  virtual void check_same(const std::string& name, const std::string& text) = 0;

  /// To be called now and then by work that takes long: who gives no sign of life counts as hung.
  virtual void give_sign() {}
};

/// One process: nothing to sum, nobody to wait for.
class OneProcess : public Communicator {
 public:
  Ranks ranks() const override { return {}; }
  void sum(const std::vector<Tensor>& /*tensors*/) override {}
  Wait gather(const std::vector<Tensor>& wholes, const std::vector<Tensor>& parts) override {
    at::_foreach_copy_(wholes, parts);
    return [] {};
  }
  Wait sum_parts(const std::vector<Tensor>& parts, const std::vector<Tensor>& wholes) override {
    at::_foreach_copy_(parts, wholes);
    return [] {};
  }
  std::shared_ptr<Communicator> split(int64_t /*size*/) override {
    return std::make_shared<OneProcess>();
  }
  bool any(bool here) override { return here; }
  int64_t most(int64_t here) override { return here; }
  std::vector<std::string> gather_bytes(const std::string& bytes) override { return {bytes}; }
  void barrier() override {}
  void check_same(const std::string& /*name*/, const std::string& /*text*/) override {}
};

}  // namespace hypenet
