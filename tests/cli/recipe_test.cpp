// hypenet recipe: keys explained, recipes written out.
#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/support/program.h"

namespace hypenet {
namespace {

using testing_support::ProgramResult;
using testing_support::run_program;

TEST(RecipeCommand, explains_a_key_a_section_and_the_last_part_of_a_key) {
  const ProgramResult key = run_program({"recipe", "--explain", "distill.steps"});
  EXPECT_EQ(key.code, 0) << key.error;
  EXPECT_EQ(key.out, "distill.steps: optimizer steps (integer, default 20000)\n");
  const ProgramResult section = run_program({"recipe", "--explain", "select"});
  EXPECT_NE(section.out.find("select.pilot.steps: "), std::string::npos) << section.out;
  const ProgramResult part = run_program({"recipe", "--explain", "save_every"});
  for (const char* stage : {"align.", "distill.", "finetune.", "phases.N.stage."})
    EXPECT_NE(part.out.find(concat(stage, "save_every: ")), std::string::npos) << part.out;
  const ProgramResult phase = run_program({"recipe", "--explain", "phases.0.stage.steps"});
  EXPECT_EQ(phase.code, 0) << phase.error;
}

TEST(RecipeCommand, names_near_keys_of_an_unknown_one) {
  const ProgramResult result = run_program({"recipe", "--explain", "peak"});
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.error.find("near: align.optimizer.peak_lr"), std::string::npos) << result.error;
}

TEST(RecipeCommand, shows_a_recipe_with_all_its_keys) {
  const ProgramResult result = run_program(
      {"recipe", "--show", HYPENET_SOURCE "/recipes/tiny.json", "--set", "distill.steps=3"});
  ASSERT_EQ(result.code, 0) << result.error;
  const Json recipe = parse_json(result.out, "recipe");
  EXPECT_EQ(recipe["distill"]["steps"], 3);
  EXPECT_EQ(recipe["align"]["precision"], "float32");
}

TEST(RecipeCommand, wants_one_thing_at_a_time) {
  EXPECT_NE(run_program({"recipe"}).error.find("expected one of --list"), std::string::npos);
  EXPECT_EQ(run_program({"recipe", "--list", "--markdown"}).code, 1);
  EXPECT_NE(run_program({"recipe", "--list", "--set", "a=b"}).error.find("--set: has no effect"),
            std::string::npos);
}

}  // namespace
}  // namespace hypenet
