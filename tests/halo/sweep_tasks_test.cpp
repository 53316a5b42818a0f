// The tasks of a sweep, and what is said of their lengths.
#include <gmock/gmock.h>

#include "halo/sweep.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

TEST(SweepTasks, lengths_beyond_the_teachers_are_said_and_not_refused) {
  const TemporaryFolder folder;
  testing_support::write_byte_tokenizer(folder.path());
  ModelConfig teacher;
  teacher.max_position_embeddings = 512;
  SweepConfig config;
  config.context = 513, config.lengths = {512, 1024};
  const std::string end =
      " tokens are more than the 512 that this model was made for (config.json: "
      "max_position_embeddings)";
  const auto notes = [&](const std::vector<std::string>& tasks) {
    config.tasks = tasks;
    return sweep_length_notes(config, teacher);
  };
  EXPECT_THAT(notes({"text", "niah_single_1"}),
              testing::ElementsAre("warning: sweep: context: 513" + end,
                                   "warning: sweep: lengths: 1024" + end));
  EXPECT_THAT(notes({"fda"}), testing::IsEmpty());
  config.tasks = {"niah_single_1"}, config.lengths = {1024}, config.limit = 1;
  EXPECT_EQ(load_sweep_tasks(config, Tokenizer::load(folder.path())).size(), 1U);
}

}  // namespace
}  // namespace hypenet
