// The corpus that a model writes is a function of its settings: not of batches, nor of stops.
#include "run/teacher_text.h"

#include <gmock/gmock.h>

#include <set>

#include "base/files.h"
#include "run/run.h"
#include "store/checkpoint.h"
#include "tests/support/expect_error.h"
#include "tests/support/shared_memory_ranks.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing::Ge;
using testing::Le;

const fs::path kTeacher = fs::path(HYPENET_SOURCE) / "models" / "tiny-teacher";
constexpr const char* kText =
    "The sun rises in the east. Water is made of hydrogen and oxygen. In the spring many plants "
    "begin to grow. A cell divides into two cells!\nCities near the sea trade with other cities. "
    "The price of bread depends on the price of grain. Did the king know? Nobody can say.\n"
    "Every number has a successor. Rivers carry sand to the sea. Light is faster than sound.\n";

class TeacherText : public testing::Test {
 protected:
  TeacherText() {
    write_file(folder_ / "text.txt", kText);
    options_.answer.max_tokens = 12;
    options_.answer.sampling.temperature = 1;
    options_.answer.stop_ids = {*tokenizer_.eos_id()};
    options_.min_prompt = 1, options_.max_prompt = 6;
  }

  Beginnings beginnings() const { return {{folder_ / "text.txt"}, "text"}; }

  /// The corpus so far, stopped when so many tokens are known to the last rank.
  std::string write(const std::string& name, int64_t sequences, int64_t stop_at = INT64_MAX,
                    int64_t ranks = 1) {
    options_.sequences = sequences;
    CorpusFile corpus(folder_ / name, {{"seed", 0}}, kTokens, tokenizer_);
    std::vector<std::unique_ptr<Engine>> engines;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      engines.push_back(std::make_unique<Engine>(load_model(Checkpoint(kTeacher)),
                                                 EngineOptions{.max_sequences = sequences}));
    }
    try {
      testing_support::run_ranks(ranks, [&](const std::shared_ptr<Communicator>& communicator) {
        const Ranks own = communicator->ranks();
        std::atomic<bool> stop = false;
        write_teacher_text(*engines[static_cast<size_t>(own.index)], tokenizer_, beginnings(),
                           options_,
                           {.ranks = *communicator,
                            .corpus = own.is_first() ? &corpus : nullptr,
                            .stop = stop,
                            .report = [&](int64_t tokens) {
                              stop = tokens >= stop_at && own.index == own.count - 1;
                            }});
      });
    } catch (const Interrupted&) {
      for (const auto& engine : engines) EXPECT_TRUE(engine->is_idle());
      return read_file(folder_ / (name + ".journal"));
    }
    corpus.commit({});
    return read_file(folder_ / name);
  }

  static constexpr int64_t kTokens = 400;
  TemporaryFolder folder_;
  Tokenizer tokenizer_ = Tokenizer::load(kTeacher);
  TeacherTextOptions options_;
};

TEST_F(TeacherText, prompts_are_a_function_of_seed_and_number) {
  options_.min_prompt = 2, options_.max_prompt = 5;
  const Beginnings source = beginnings();
  std::set<std::vector<int32_t>> prompts;
  std::set<size_t> lengths;
  std::set<uint64_t> seeds;
  for (int64_t id = 0; id < 60; ++id) {
    const auto prompt = draw_prompt(source, tokenizer_, options_, id);
    EXPECT_EQ(prompt, draw_prompt(beginnings(), tokenizer_, options_, id));
    EXPECT_NE(std::string(kText).find(tokenizer_.decode(prompt)), std::string::npos);
    prompts.insert(prompt), lengths.insert(prompt.size());
    seeds.insert(sampling_seed(options_, id));
  }
  EXPECT_GT(prompts.size(), 20);
  EXPECT_EQ(lengths, (std::set<size_t>{2, 3, 4, 5}));
  EXPECT_EQ(seeds.size(), 60);
  TeacherTextOptions other = options_;
  other.seed = 1;
  int differ = 0;
  for (int64_t id = 0; id < 10; ++id) {
    differ +=
        draw_prompt(source, tokenizer_, other, id) != draw_prompt(source, tokenizer_, options_, id);
    EXPECT_FALSE(seeds.contains(sampling_seed(other, id)));
  }
  EXPECT_GT(differ, 5);
}

TEST_F(TeacherText, the_corpus_does_not_depend_on_how_many_run_side_by_side) {
  const std::string one = write("one.jsonl", 1);
  EXPECT_EQ(write("three.jsonl", 3), one);
  EXPECT_EQ(write("all.jsonl", 64), one);
}

TEST_F(TeacherText, the_corpus_does_not_depend_on_the_number_of_ranks) {
  const std::string one = write("one.jsonl", 4);
  EXPECT_EQ(write("two.jsonl", 3, INT64_MAX, 2), one);
  EXPECT_EQ(write("five.jsonl", 1, INT64_MAX, 5), one);
}

TEST_F(TeacherText, documents_go_on_from_their_prompts_until_there_are_enough) {
  std::istringstream lines(write("x.jsonl", 8));
  int64_t tokens = 0, last = 0, documents = 0;
  for (std::string line; std::getline(lines, line); ++documents) {
    const Json json = Json::parse(line);
    EXPECT_TRUE(json["text"].get<std::string>().starts_with(json["prompt"].get<std::string>()));
    EXPECT_EQ(tokenizer_.decode(draw_prompt(beginnings(), tokenizer_, options_, json["id"])),
              json["prompt"].get<std::string>());
    last = json["tokens"];
    EXPECT_LE(last, options_.max_prompt + options_.answer.max_tokens);
    tokens += last;
  }
  EXPECT_GT(documents, 10);
  EXPECT_THAT(tokens, Ge(kTokens));
  EXPECT_LT(tokens - last, kTokens);
}

TEST_F(TeacherText, a_stopped_run_goes_on_to_the_same_bytes) {
  const std::string whole = write("whole.jsonl", 4);
  const std::string first = write("cut.jsonl", 4, 150);
  const std::string second = write("cut.jsonl", 2, 300);
  EXPECT_TRUE(second.starts_with(first));
  EXPECT_GT(second.size(), first.size());
  EXPECT_EQ(write("cut.jsonl", 5), whole);
  write("cut_of_two.jsonl", 1, 100, 2);
  EXPECT_EQ(write("cut_of_two.jsonl", 2, INT64_MAX, 3), whole);
}

TEST_F(TeacherText, impossible_settings_are_refused) {
  const auto with = [&](int64_t least, int64_t most, int64_t sequences) {
    options_.min_prompt = least, options_.max_prompt = most, options_.sequences = sequences;
    return options_;
  };
  EXPECT_ERROR(check_teacher_text(with(0, 3, 1)), "--prompt-tokens: expected two numbers from 1");
  EXPECT_ERROR(check_teacher_text(with(4, 3, 1)), "found 4,3");
  EXPECT_ERROR(check_teacher_text(with(1, 5000, 1)), "--prompt-tokens");
  EXPECT_ERROR(check_teacher_text(with(1, 2, 0)), "--sequences: expected 1 to 65536, found 0");
}

}  // namespace
}  // namespace hypenet
