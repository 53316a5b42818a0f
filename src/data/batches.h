// Batches whose rows are a function of seed and step alone, so that a resumed run sees the same
// ones.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/json.h"
#include "data/synthetic/needle.h"
#include "data/synthetic/recall_rows.h"
#include "data/token_shard.h"

namespace hypenet {

using torch::Tensor;

/// What rows a batch is made of; the shares add up to one.
struct MixtureConfig {
  /// Full sequences of the corpus, each once an epoch, in an order that depends on seed and epoch.
  double prose = 1;
  /// Needle rows: 1, 2, 4 or 8 needles, 1 to 4 questions (data/synthetic/needle.h).
  double needle = 0;
  /// Recall rows in many wordings (data/synthetic/recall_rows.h). They take the place of prose
  /// rows: with a share of them the needle and copy rows are the same as without.
  double recall = 0;
  /// A span of 12 to T/3 tokens that appears again later; half of these rows are random tokens.
  double copy = 0;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("prose", prose);
    field("needle", needle);
    field("recall", recall);
    field("copy", copy);
  }
};

/// ids and targets int64 [B, T]: targets are the next tokens. answers bool [B, T]: where the target
/// is a token of the answer to a question of a needle or recall row (not its full stop); false in
/// rows of other kinds.
struct Batch {
  Tensor ids, targets, answers;

  /// The batch with each of its tensors put through `change`: moved, pinned, some of the rows.
  template <class Change>
  Batch map(Change&& change) const {
    return {change(ids), change(targets), change(answers)};
  }

  /// Rows first .. first + count - 1; the memory is shared.
  Batch narrow(int64_t first, int64_t count) const {
    return map([&](const Tensor& tensor) { return tensor.narrow(0, first, count); });
  }
};

struct BatchOptions {
  int64_t sequences = 1;  // B
  int64_t context = 512;  // T
  uint64_t seed = 0;
  MixtureConfig mixture;
};

/// Row r of the endless order has its kind drawn by the shares. Prose row r takes sequence
/// permuted(r mod n) of the epoch r / n, where the corpus holds n sequences: none twice an epoch;
/// those that fall to rows of other kinds are left out until the next epoch. Sequence i is tokens
/// [i T, i T + T], the last one the next one's first. Needle rows get fewer needles and questions
/// where `context` could not hold them.
class Batches {
 public:
  /// `tokenizer` may be null when the mixture is all prose; else it must live as long. Throws Error
  /// when the corpus holds less than one sequence or was made with another tokenizer, shares do not
  /// add up to one, or rows of a kind cannot be built (too short a context,
  /// data/synthetic/needle.h, data/synthetic/recall_rows.h).
  Batches(std::shared_ptr<const TokenDataset> dataset, const Tokenizer* tokenizer,
          BatchOptions options);

  /// Throws Error for all of that which needs no corpus to be found.
  static void check(const BatchOptions& options, const Tokenizer& tokenizer);

  /// The batch of one step, on the CPU. Step s of `sequences` rows covers rows s * sequences .. of
  /// the order.
  Batch at(int64_t step) const { return at(step, 0, options_.sequences); }

  /// Rows first .. end - 1 of that batch alone: a rank's share.
  Batch at(int64_t step, int64_t first, int64_t end) const;

 private:
  struct Row {
    std::vector<int32_t> tokens;  // context + 1
    std::vector<AnswerSpan> answers;
  };
  explicit Batches(const BatchOptions& options);  // without a corpus: to be checked alone
  void prepare(const Tokenizer& tokenizer);
  Row row(int64_t index) const;
  std::vector<int32_t> prose_row(int64_t index) const;
  Row needle_row(Random& random) const;
  Row recall_row(Random& random) const;
  std::vector<int32_t> copy_row(Random& random) const;

  std::vector<int32_t> random_prose(int64_t n, Random& random) const;
  void prepare_needles(const Tokenizer& tokenizer);
  void prepare_recall(const Tokenizer& tokenizer);
  void prepare_copies(const Tokenizer& tokenizer);
  bool fits(int64_t needles, int64_t questions) const;

  std::shared_ptr<const TokenDataset> dataset_;
  BatchOptions options_;
  int64_t corpus_sequences_ = 0;
  std::unique_ptr<NeedleTask> needles_;
  std::unique_ptr<RecallRows> recall_;
  int64_t needle_tokens_ = 0, question_tokens_ = 0;  // at most
  std::vector<int32_t> ordinary_ids_;  // not special: random tokens are drawn from these
};

/// A pseudo-random permutation of 0 .. n-1, computed point by point (a Feistel network walked until
/// it lands in range).
int64_t permuted(int64_t index, int64_t n, uint64_t key);

}  // namespace hypenet
