// Rows of a batch: prose in a permuted order, needle rows, copy rows.
#include "data/batches.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/random.h"

namespace hypenet {
namespace {

constexpr int kFeistelRounds = 4;
constexpr std::array<int64_t, 4> kNeedleCounts = {1, 2, 4, 8};
constexpr int64_t kMaxQuestions = 4;
constexpr int64_t kLongestKey = 3;  // tokens of a needle's key, at most
constexpr int64_t kShortestCopy = 12;
constexpr double kShareTolerance = 1e-6;

/// Streams that must not depend on each other carry different labels.
constexpr int64_t kRowStream = 1;
constexpr int64_t kEpochStream = 2;

void check_shares(const MixtureConfig& mixture) {
  for (const double share : {mixture.prose, mixture.needle, mixture.recall, mixture.copy}) {
    HYPENET_CHECK(share >= 0 && share <= 1, "mixture: expected shares between 0 and 1, found ",
                  share);
  }
  const double sum = mixture.prose + mixture.needle + mixture.recall + mixture.copy;
  HYPENET_CHECK(std::abs(sum - 1) <= kShareTolerance,
                "mixture: expected shares that add up to 1, found ", sum);
}

/// One pass of a Feistel network over numbers of 2 * half_bits bits: a bijection whatever the round
/// function.
uint64_t feistel(uint64_t value, int half_bits, uint64_t key) {
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  uint64_t left = value >> half_bits, right = value & mask;
  for (int round = 0; round < kFeistelRounds; ++round) {
    const uint64_t mixed = Random(key, {round, static_cast<int64_t>(right)}).next() & mask;
    left = std::exchange(right, left ^ mixed);
  }
  return left << half_bits | right;
}

}  // namespace

int64_t permuted(int64_t index, int64_t n, uint64_t key) {
  const int bits = std::bit_width(static_cast<uint64_t>(n - 1));
  const int half_bits = std::max(1, (bits + 1) / 2);
  auto value = static_cast<uint64_t>(index);
  do {
    value = feistel(value, half_bits, key);
  } while (value >= static_cast<uint64_t>(n));
  return static_cast<int64_t>(value);
}

Batches::Batches(const BatchOptions& options) : options_(options) {
  const auto& [sequences, context, seed, mixture] = options_;
  HYPENET_CHECK(sequences > 0 && context > 0,
                "batches: expected sequences and context above 0, found ", sequences, " and ",
                context);
  check_shares(mixture);
}

Batches::Batches(std::shared_ptr<const TokenDataset> dataset, const Tokenizer* tokenizer,
                 BatchOptions options)
    : Batches(options) {
  dataset_ = std::move(dataset);
  const auto& [sequences, context, seed, mixture] = options_;
  corpus_sequences_ = dataset_->tokens() / context;
  HYPENET_CHECK(corpus_sequences_ > 0, dataset_->folder().string(),
                ": expected at least one sequence of ", context, " tokens, found ",
                dataset_->tokens(), " tokens");
  const bool is_all_prose = mixture.needle == 0 && mixture.recall == 0 && mixture.copy == 0;
  HYPENET_CHECK(tokenizer != nullptr || is_all_prose,
                "mixture: expected a tokenizer for needle, recall and copy rows, found none");
  if (tokenizer == nullptr) return;
  check_tokenizer(*dataset_, *tokenizer);
  prepare(*tokenizer);
}

void Batches::check(const BatchOptions& options, const Tokenizer& tokenizer) {
  Batches(options).prepare(tokenizer);
}

void Batches::prepare(const Tokenizer& tokenizer) {
  if (options_.mixture.needle > 0) prepare_needles(tokenizer);
  if (options_.mixture.recall > 0) prepare_recall(tokenizer);
  if (options_.mixture.copy > 0) prepare_copies(tokenizer);
}

void Batches::prepare_needles(const Tokenizer& tokenizer) {
  needles_ = std::make_unique<NeedleTask>(tokenizer);
  const auto max_tokens = [&](std::string_view without_key) {
    return std::ssize(tokenizer.encode(without_key)) + kLongestKey;
  };
  needle_tokens_ = max_tokens(" The magic number for is 4821.");
  question_tokens_ = max_tokens(" Question: the magic number for is 4821.");
  HYPENET_CHECK(fits(1, 1), "mixture: expected a context of at least ",
                needle_tokens_ + question_tokens_ - 1, " tokens for needle rows, found ",
                options_.context);
}

bool Batches::fits(int64_t needles, int64_t questions) const {
  return needles * needle_tokens_ + questions * question_tokens_ <= options_.context + 1;
}

void Batches::prepare_recall(const Tokenizer& tokenizer) {
  recall_ = std::make_unique<RecallRows>(tokenizer);
  HYPENET_CHECK(recall_->shortest_length() <= options_.context + 1,
                "mixture: expected a context of at least ", recall_->shortest_length() - 1,
                " tokens for recall rows, found ", options_.context);
}

void Batches::prepare_copies(const Tokenizer& tokenizer) {
  HYPENET_CHECK(options_.context >= 3 * kShortestCopy, "mixture: expected a context of at least ",
                3 * kShortestCopy, " tokens for copy rows, found ", options_.context);
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.is_special(id) && !tokenizer.token_bytes(id).empty())
      ordinary_ids_.push_back(id);
  }
}

Batch Batches::at(int64_t step, int64_t first, int64_t end) const {
  const int64_t context = options_.context;
  Batch batch = {torch::empty({end - first, context}, torch::kInt64),
                 torch::empty({end - first, context}, torch::kInt64),
                 torch::zeros({end - first, context}, torch::kBool)};
  for (int64_t i = 0; i < end - first; ++i) {
    const Row made = row(step * options_.sequences + first + i);
    const auto tokens = made.tokens.begin();
    std::copy_n(tokens, context, batch.ids.data_ptr<int64_t>() + i * context);
    std::copy_n(tokens + 1, context, batch.targets.data_ptr<int64_t>() + i * context);
    // Token j is the target of position j - 1.
    bool* const is_answer = batch.answers.data_ptr<bool>() + i * context;
    for (const AnswerSpan& answer : made.answers) {
      std::fill_n(is_answer + answer.start - 1, answer.length, true);
    }
  }
  return batch;
}

Batches::Row Batches::row(int64_t index) const {
  const MixtureConfig& mixture = options_.mixture;
  Random random(options_.seed, {kRowStream, index});
  const double draw = random.uniform();
  if (draw < mixture.needle) return needle_row(random);
  if (draw < mixture.needle + mixture.recall) return recall_row(random);
  if (draw >= 1 - mixture.copy) return {copy_row(random), {}};
  return {prose_row(index), {}};
}

std::vector<int32_t> Batches::prose_row(int64_t index) const {
  const int64_t epoch = index / corpus_sequences_;
  const uint64_t key = Random(options_.seed, {kEpochStream, epoch}).next();
  const int64_t sequence = permuted(index % corpus_sequences_, corpus_sequences_, key);
  std::vector<int32_t> tokens(static_cast<size_t>(options_.context) + 1);
  dataset_->read(sequence * options_.context, tokens);
  return tokens;
}

std::vector<int32_t> Batches::random_prose(int64_t n, Random& random) const {
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  dataset_->read(random.below(dataset_->tokens()), tokens);
  return tokens;
}

Batches::Row Batches::needle_row(Random& random) const {
  int64_t needles = kNeedleCounts[static_cast<size_t>(random.below(std::ssize(kNeedleCounts)))];
  int64_t questions = 1 + random.below(std::min(kMaxQuestions, needles));
  while (!fits(needles, questions)) {
    needles /= 2;
    questions = std::min(questions, needles);
  }
  NeedleRow made = needles_->row(options_.context + 1, needles, questions, NeedleKeys::kTraining,
                                 random, [&](int64_t n) { return random_prose(n, random); });
  Row row = {std::move(made.ids), {}};
  row.answers.reserve(made.answer_starts.size());
  for (const int64_t start : made.answer_starts) {
    row.answers.push_back({start, made.answer_length});
  }
  return row;
}

Batches::Row Batches::recall_row(Random& random) const {
  RecallRow made = recall_->row(options_.context + 1, random,
                                [&](int64_t n) { return random_prose(n, random); });
  return {std::move(made.ids), std::move(made.answers)};
}

std::vector<int32_t> Batches::copy_row(Random& random) const {
  const int64_t length = options_.context + 1;
  std::vector<int32_t> tokens = random_prose(length, random);
  if (random.below(2) == 0) {
    for (int32_t& id : tokens)
      id = ordinary_ids_[static_cast<size_t>(random.below(std::ssize(ordinary_ids_)))];
  }
  const int64_t span = kShortestCopy + random.below(options_.context / 3 - kShortestCopy + 1);
  const int64_t from = random.below(length - 2 * span + 1);
  const int64_t to = from + span + random.below(length - 2 * span - from + 1);
  std::copy_n(tokens.begin() + from, span, tokens.begin() + to);
  return tokens;
}

}  // namespace hypenet
