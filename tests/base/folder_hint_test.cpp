// Paths that are nearly model folders.
#include "base/folder_hint.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

TEST(FolderHint, a_name_of_the_hub_is_downloaded_first) {
  EXPECT_ERROR(check_model_folder("Qwen/Qwen3-1.7B"),
               "hf download Qwen/Qwen3-1.7B --local-dir Qwen3-1.7B");
  const TemporaryFolder folder;
  EXPECT_ERROR(check_model_folder(folder / "x"), "expected a model folder, found nothing");
  write_file(folder / "file", "");
  EXPECT_ERROR(check_model_folder(folder / "file"), "expected a model folder, found a file");
}

TEST(FolderHint, the_models_of_a_conversions_folder_are_named) {
  const TemporaryFolder folder;
  EXPECT_NO_THROW(check_model_folder(folder.path()));  // left to who reads config.json
  for (const char* name : {"2-align", "4-distill"}) {
    fs::create_directory(folder / name);
    write_file(folder / name / "config.json", "{}");
  }
  EXPECT_ERROR(check_model_folder(folder.path()),
               "expected a model folder with a config.json, found none in it, but in " +
                   (folder / "2-align").string() + ", " + (folder / "4-distill").string());
  fs::create_directory(folder / "model");
  write_file(folder / "model" / "config.json", "{}");
  EXPECT_ERROR(check_model_folder(folder.path()),
               "found none in it, but in " + (folder / "model").string());
  EXPECT_NO_THROW(check_model_folder(folder / "model"));
}

}  // namespace
}  // namespace hypenet
