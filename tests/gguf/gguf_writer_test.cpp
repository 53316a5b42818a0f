// What is written is read back: keys of every kind, tensors at aligned places, nothing half.
#include "gguf/gguf_writer.h"

#include <gtest/gtest.h>

#include <fstream>

#include "gguf/gguf_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

std::span<const std::byte> bytes_of(const std::vector<float>& values) {
  return std::as_bytes(std::span(values));
}

TEST(GgufWriting, keys_of_every_kind_come_back) {
  const TemporaryFolder folder;
  GgufKeyList keys;
  keys.add_size("size", 4294967295);
  keys.add_number("single", 1e-6), keys.add_number("double", 0.1234567890123);
  keys.add_flag("yes", true), keys.add_flag("no", false);
  keys.add_text("text", "na\u00efve"), keys.add_texts("texts", {"a", "", "b c"});
  keys.add_integers("integers", {1, -2, 3}), keys.add_flags("flags", {true, false, true});
  EXPECT_EQ(keys.count(), 9);
  GgufWriter(folder / "m.gguf", keys, {}).commit();
  const GgufFile file(folder / "m.gguf");
  const GgufKeys& found = file.keys();
  EXPECT_EQ(found.integer("size"), 4294967295);
  EXPECT_EQ(found.number("single"), 1e-6);
  EXPECT_EQ(found.number("double"), 0.1234567890123);
  EXPECT_TRUE(found.flag("yes", false));
  EXPECT_FALSE(found.flag("no", true));
  EXPECT_EQ(found.text("text"), "na\u00efve");
  EXPECT_EQ(found.texts("texts"), (std::vector<std::string_view>{"a", "", "b c"}));
  EXPECT_EQ(found.integers("integers"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(found.flags("flags"), (std::vector<bool>{true, false, true}));
  EXPECT_ERROR(found.flags("integers"), "m.gguf: integers: expected an array of bools, found");
  EXPECT_ERROR(keys.add_size("large", 4294967296), "large: expected 0 to 4294967295, found 429");
}

TEST(GgufWriting, tensors_lie_aligned_whatever_their_sizes) {
  const TemporaryFolder folder;
  const std::vector<float> first = {1, 2, 3}, second = {4, 5, 6, 7, 8, 9};
  GgufWriter writer(folder / "m.gguf", {},
                    {{"a", BlockType::kF32, {3}}, {"b", BlockType::kF32, {2, 3}}});
  writer.write(bytes_of(first));
  writer.write(bytes_of(second).first(8));
  writer.write(bytes_of(second).subspan(8));
  EXPECT_FALSE(std::filesystem::exists(folder / "m.gguf"));
  writer.commit();
  const GgufFile file(folder / "m.gguf");
  ASSERT_EQ(file.tensors().size(), 2);
  const GgufTensor& b = file.tensors()[1];
  EXPECT_EQ(b.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_TRUE(std::ranges::equal(b.blocks, bytes_of(second)));
  EXPECT_TRUE(std::ranges::equal(file.tensors()[0].blocks, bytes_of(first)));
  EXPECT_EQ((b.blocks.data() - file.mapping()->bytes().data()) % 32, 0);
}

TEST(GgufWriting, what_is_not_whole_does_not_appear) {
  const TemporaryFolder folder;
  const std::vector<float> values = {1, 2, 3};
  {
    GgufWriter writer(folder / "m.gguf", {}, {{"a", BlockType::kF32, {2}}});
    EXPECT_ERROR(writer.write(bytes_of(values)), "expected at most 8 bytes more of a tensor");
    EXPECT_ERROR(writer.commit(), "m.gguf: expected 1 tensors, found 0");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace hypenet
