// States that are written while what they were taken of goes on changing.
#include "train/state_saver.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "store/safetensors.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/shared_memory_ranks.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing_support::run_ranks;

class StateSaverTest : public testing::TestWithParam<torch::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == torch::kCUDA && !has_gpu()) GTEST_SKIP() << "no CUDA device";
  }
  torch::Device device() const { return {GetParam()}; }
  Tensor numbers(int64_t first, int64_t count) const {
    return torch::arange(first, first + count, device()).to(torch::kFloat32);
  }

  const TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "state";
};

TEST_P(StateSaverTest, a_copy_has_the_numbers_of_the_parts_over_several_blocks) {
  const std::vector<TensorPart> parts = {
      {"a", {20}, numbers(0, 10), 5}, {"b", {3}, numbers(0, 0), 0}, {"c", {7}, numbers(100, 7), 0}};
  PartsCopy copy(parts, device(), /*block_numbers=*/4);
  for (const int64_t change : {0, 1000}) {
    for (const TensorPart& part : parts) part.values.add_(change);
    copy.take(parts);
    for (const TensorPart& part : parts) part.values.sub_(change);
    std::map<std::string, Tensor> found;
    for (const TensorPart& part : parts) found[part.name] = torch::full(part.shape, -1.F);
    for (const TensorPart& piece : copy.parts()) {
      EXPECT_LE(piece.values.numel(), 4);
      found.at(piece.name).narrow(0, piece.first, piece.values.numel()).copy_(piece.values);
    }
    EXPECT_TRUE(torch::equal(found.at("a").narrow(0, 5, 10), (numbers(0, 10) + change).cpu()));
    EXPECT_TRUE(torch::equal(found.at("a").narrow(0, 0, 5), torch::full({5}, -1.F)));
    EXPECT_TRUE(torch::equal(found.at("c"), (numbers(100, 7) + change).cpu()));
  }
}

TEST_P(StateSaverTest, what_changes_after_begin_is_not_in_the_file) {
  const std::vector<TensorPart> parts = {{"a", {6}, numbers(0, 6), 0}};
  StateSaver saver(path_, parts, device(), std::make_shared<OneProcess>());
  for (int64_t step = 0; step < 3; ++step) {
    saver.begin(parts, {{"step", std::to_string(step)}});
    parts[0].values.add_(10);
    if (step == 1) saver.finish();
  }
  saver.finish();
  saver.finish();  // nothing is left to do
  const SafetensorsFile file(path_);
  EXPECT_EQ(file.metadata().at("step"), "2");
  EXPECT_TRUE(torch::equal(file.tensor("a"), (numbers(0, 6) + 20).cpu()));
}

TEST_P(StateSaverTest, a_file_gets_its_name_between_steps_once_it_is_written) {
  const std::vector<TensorPart> parts = {{"a", {6}, numbers(0, 6), 0}};
  StateSaver saver(path_, parts, device(), std::make_shared<OneProcess>());
  saver.settle();  // none was begun
  saver.begin(parts, {});
  EXPECT_FALSE(std::filesystem::exists(path_));
  while (!std::filesystem::exists(path_)) saver.settle();
  EXPECT_TRUE(torch::equal(SafetensorsFile(path_).tensor("a"), numbers(0, 6).cpu()));
}

TEST_P(StateSaverTest, a_state_that_was_taken_is_kept_when_a_later_step_fails) {
  const std::vector<TensorPart> parts = {{"a", {6}, numbers(0, 6), 0}};
  {
    StateSaver saver(path_, parts, device(), std::make_shared<OneProcess>());
    saver.begin(parts, {});
  }
  EXPECT_TRUE(torch::equal(SafetensorsFile(path_).tensor("a"), numbers(0, 6).cpu()));
}

TEST_P(StateSaverTest, a_state_that_cannot_be_written_leaves_the_one_before) {
  const std::vector<TensorPart> parts = {{"a", {6}, numbers(0, 6), 0}};
  StateSaver saver(path_, parts, device(), std::make_shared<OneProcess>());
  saver.begin(parts, {{"step", "1"}});
  saver.finish();
  std::filesystem::create_directory(path_.string() + std::string(kPartialEnding));
  EXPECT_ERROR(saver.begin(parts, {{"step", "2"}}), "state.hypenet-partial");
  EXPECT_EQ(SafetensorsFile(path_).metadata().at("step"), "1");
}

INSTANTIATE_TEST_SUITE_P(, StateSaverTest, testing::Values(torch::kCPU, torch::kCUDA),
                         [](const auto& device) {
                           return std::string(device.param == torch::kCPU ? "cpu" : "cuda");
                         });

TEST(StateSaver, ranks_write_their_parts_into_one_file) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "state";
  run_ranks(3, [&](const std::shared_ptr<Communicator>& communicator) {
    const int64_t rank = communicator->ranks().index;
    const std::vector<TensorPart> parts = {
        {"a", {7}, torch::arange(7.F).narrow(0, rank * 2, rank == 2 ? 3 : 2), rank * 2}};
    StateSaver saver(path, parts, torch::kCPU, communicator);
    saver.begin(parts, {});
    EXPECT_TRUE(rank != 0 || !std::filesystem::exists(path)) << "before all have written";
    saver.finish();
    EXPECT_TRUE(torch::equal(SafetensorsFile(path).tensor("a"), torch::arange(7.F)));
  });
}

}  // namespace
}  // namespace hypenet
