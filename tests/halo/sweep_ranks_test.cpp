// A sweep by several ranks, whose scores are those of one, bit for bit.
#include <gtest/gtest.h>

#include <deque>
#include <set>
#include <sstream>

#include "base/files.h"
#include "base/random.h"
#include "halo/sweep.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/shared_memory_ranks.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/twins.h"

namespace hypenet {
namespace {

using testing_support::run_ranks;

class SweepRanks : public testing::Test {
 protected:
  static constexpr int64_t kMostRanks = 3;

  SweepRanks() {
    testing_support::write_byte_tokenizer(folder_.path());
    ModelConfig config = testing_support::tiny_teacher_config();
    config.vocab_size = testing_support::kByteTokens;
    config.max_position_embeddings = 2048;
    for (int64_t rank = 0; rank < kMostRanks; ++rank) {
      const CausalLm teacher = testing_support::spread_model(config, 5);
      variants_.emplace_back(teacher, testing_support::new_twins(teacher, 6));
    }
    Random random(1);
    for (int i = 0; i < 12000; ++i) prose_.push_back(static_cast<int32_t>(32 + random.below(90)));
    std::string choices, completions;
    for (int i = 0; i < 9; ++i) {
      choices += concat(R"({"context": "Item )", i * i, R"( is", "choices": ["odd", "even )", i,
                        R"("], "answer": 0})", "\n");
      completions +=
          concat(R"({"context": "Number )", i, R"( is", "answer": "7", "max_tokens": 5})", "\n");
    }
    write_file(folder_ / "choices.jsonl", choices);
    write_file(folder_ / "completions.jsonl", completions);
  }

  /// Rows of more than a batch a rank, and tasks that are scored and generated.
  SweepConfig config() const {
    SweepConfig config;
    config.tasks = {"text", "lazy", (folder_ / "choices.jsonl").string(),
                    (folder_ / "completions.jsonl").string()};
    config.context = 1000;
    config.windows = 8;
    return config;
  }

  /// What each rank found.
  std::vector<LayerScores> sweep(int64_t count, const std::string& journal) {
    const Tokenizer tokenizer = Tokenizer::load(folder_.path());
    std::vector<LayerScores> scores(static_cast<size_t>(count));
    run_ranks(count, [&](const std::shared_ptr<Communicator>& ranks) {
      torch::set_num_threads(1);  // of this rank; more would wait for each other
      const auto rank = static_cast<size_t>(ranks->ranks().index);
      scores[rank] = sweep_layers({.variants = variants_[rank],
                                   .tokenizer = tokenizer,
                                   .held_out = prose_,
                                   .journal = folder_ / journal,
                                   .ranks = ranks},
                                  config(), {});
    });
    return scores;
  }

  std::multiset<std::string> lines(const std::string& journal) const {
    std::istringstream text(read_file(folder_ / journal));
    std::multiset<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.insert(line);
    return lines;
  }

  TemporaryFolder folder_;
  std::deque<LayerVariants> variants_;  // of each rank
  std::vector<int32_t> prose_;
};

TEST_F(SweepRanks, any_number_of_ranks_finds_the_same_bits) {
  const LayerScores expected = sweep(1, "1.journal").front();
  EXPECT_GE(expected.columns.size(), 6U);
  for (const int64_t count : {2, 3}) {
    SCOPED_TRACE(count);
    const std::string journal = concat(count, ".journal");
    for (const LayerScores& found : sweep(count, journal)) {
      EXPECT_EQ(found.columns, expected.columns);
      EXPECT_EQ(found.original, expected.original);
      EXPECT_EQ(found.layers, expected.layers);
    }
    EXPECT_EQ(lines(journal), lines("1.journal"));
  }
}

}  // namespace
}  // namespace hypenet
