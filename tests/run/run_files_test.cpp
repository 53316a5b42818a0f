// What is looked at before a run begins to write.
#include "run/run_files.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/shared_memory_ranks.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing_support::run_ranks;

TEST(RunFiles, ranks_with_one_disk_go_on_and_leave_no_trace) {
  const TemporaryFolder folder;
  const fs::path out = folder / "new/out";
  run_ranks(3, [&](const std::shared_ptr<Communicator>& ranks) {
    check_shared_disk({.out = out, .communicator = ranks});
  });
  EXPECT_TRUE(fs::is_empty(out));
}

TEST(RunFiles, a_rank_with_a_disk_of_its_own_is_refused) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "1");
  run_ranks(2, [&](const std::shared_ptr<Communicator>& ranks) {
    const int64_t index = ranks->ranks().index;
    const RunOptions options{.out = folder / std::to_string(index), .communicator = ranks};
    if (index == 0) return check_shared_disk(options);
    EXPECT_ERROR(check_shared_disk(options),
                 concat("--out ", (folder / "1").string(),
                        ": expected a folder on a disk that all ranks share"));
  });
  EXPECT_TRUE(fs::is_empty(folder / "0"));
}

TEST(RunFiles, a_run_that_is_not_told_where_goes_to_a_folder_of_its_recipes_name) {
  EXPECT_EQ(default_out("recipes/tiny.json"), fs::path("out/tiny"));
}

}  // namespace
}  // namespace hypenet
