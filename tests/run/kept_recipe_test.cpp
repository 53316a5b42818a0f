// recipe.json of a run: read back by the command that wrote it, and never in place of a user's own.
#include "run/kept_recipe.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

TEST(KeptRecipe, is_read_by_the_command_that_wrote_it) {
  const TemporaryFolder folder;
  keep_recipe(folder.path(), "convert", {{"name", "a"}});
  keep_recipe(folder.path(), "convert", {{"name", "b"}});
  EXPECT_EQ(read_json(kept_recipe(folder.path(), "convert"))["recipe"]["name"], "b");
  EXPECT_ERROR(kept_recipe(folder.path(), "train"), "another command: hypenet convert --resume");
}

TEST(KeptRecipe, a_folder_without_a_run_is_refused) {
  const TemporaryFolder folder;
  EXPECT_ERROR(kept_recipe(folder.path(), "convert"), "found no recipe.json in it");
  EXPECT_ERROR(kept_recipe(folder / "none", "convert"), "found nothing");
  write_file(folder / "file", "");
  EXPECT_ERROR(kept_recipe(folder / "file", "convert"), "found a file");
}

TEST(KeptRecipe, a_users_own_recipe_stays) {
  const TemporaryFolder folder;
  write_file(folder / "recipe.json", R"({"name": "mine"})");
  EXPECT_ERROR(keep_recipe(folder.path(), "convert", {{"name", "a"}}), "choose another --out");
  EXPECT_EQ(read_file(folder / "recipe.json"), R"({"name": "mine"})");
  EXPECT_ERROR(kept_recipe(folder.path(), "convert"), "found a recipe.json that no run wrote");
}

}  // namespace
}  // namespace hypenet
