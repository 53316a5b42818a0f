// Stages are made once, in order, and never from other settings.
#include "run/run.h"

#include <gmock/gmock.h>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Run : public testing::Test {
 protected:
  Stage stage(const std::string& name, const Json& settings) {
    return {.name = name,
            .folder = folder_ / name,
            .settings = settings,
            .make =
                [this](const Stage& own) {
                  std::filesystem::create_directories(own.folder);
                  write_json(own.folder / "run.json", run_record(own));
                  made_.push_back(own.name);
                },
            .or_else = "leave it"};
  }

  TemporaryFolder folder_;
  std::vector<std::string> made_;
};

TEST_F(Run, makes_what_is_not_there) {
  const std::vector<Stage> stages = {stage("a", {{"x", 1}}), stage("b", {{"x", 1}, {"y", 2}})};
  perform(std::span(stages).first(1), {});
  EXPECT_THAT(made_, ElementsAre("a"));
  perform(stages, {});
  EXPECT_THAT(made_, ElementsAre("a", "b"));
  EXPECT_EQ(read_json(folder_ / "b/run.json")["settings"], stages[1].settings);
}

TEST_F(Run, refuses_a_folder_of_other_settings_before_any_work) {
  perform(std::vector{stage("b", {{"x", 1}})}, {});
  const std::vector<Stage> others = {stage("a", {{"x", 2}}), stage("b", {{"x", 2}})};
  EXPECT_ERROR(check_made_before(others), "x: expected 2, found 1; use those settings again");
  EXPECT_ERROR(check_made_before(others), "or leave it");
}

TEST_F(Run, reads_what_an_earlier_program_wrote) {
  perform(std::vector{stage("a", {{"x", 1}})}, {});
  Stage later = stage("a", {{"x", 1}, {"newer", 0}});
  EXPECT_ERROR(is_done(later), "newer: expected");
  later.completed = [](Json settings, const std::filesystem::path&) {
    settings["newer"] = 0;
    return settings;
  };
  EXPECT_TRUE(is_done(later));
}

TEST_F(Run, stops_before_a_stage) {
  const std::atomic<bool> stop = true;
  EXPECT_THROW(perform(std::vector{stage("a", {})}, {.out = folder_.path(), .stop = &stop}),
               Interrupted);
  EXPECT_THAT(made_, IsEmpty());
}

}  // namespace
}  // namespace hypenet
