// Good files, and bad ones: each is refused by one line, whatever it promises.
#include "gguf/gguf_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/expect_error.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing_support::bytes_of_number;
using testing_support::bytes_of_text;
using testing_support::GgufBuilder;

constexpr uint32_t kFloat32 = 0, kQ80 = 8, kIq4Xs = 23;

class Gguf : public testing::Test {
 protected:
  GgufFile open(const std::string& bytes) const {
    std::ofstream(folder_ / "a.gguf", std::ios::binary) << bytes;
    return GgufFile(folder_ / "a.gguf");
  }
  GgufFile open(const GgufBuilder& file) const { return open(file.build()); }

  TemporaryFolder folder_;
};

TEST_F(Gguf, keys_and_tensors_come_back) {
  GgufBuilder file;
  file.size("a.size", 7)
      .number("a.number", 1e-6F)
      .text("a.text", "na\u00efve")
      .texts("a.texts", {"x", ""});
  file.integers("a.integers", {3, -1}).key("a.flag", GgufKind::kBool, "\1");
  file.key("a.small", GgufKind::kInt8, "\xFF")
      .key("a.large", GgufKind::kUint64, std::string(8, '\1'));
  file.integers("a.equal", {4, 4, 4});
  file.tensor("t", {2, 32}, kQ80, std::string(68, '\1')).zeros("u", {3});
  for (const uint32_t version : {2U, 3U}) {
    file.version = version;
    const GgufFile found = open(file);
    const GgufKeys& keys = found.keys();
    EXPECT_EQ(keys.integer("a.size"), 7);
    EXPECT_EQ(keys.number("a.number"), 1e-6);  // and not 9.99999997e-07
    EXPECT_EQ(keys.text("a.text"), "na\u00efve");
    EXPECT_EQ(keys.texts("a.texts"), (std::vector<std::string_view>{"x", ""}));
    EXPECT_EQ(keys.integers("a.integers"), (std::vector<int64_t>{3, -1}));
    EXPECT_TRUE(keys.flag("a.flag", false));
    EXPECT_EQ(keys.integer("a.small"), -1);
    EXPECT_EQ(keys.integer("a.large"), 0x0101010101010101);
    EXPECT_EQ(keys.integer("a.equal"), 4);
    EXPECT_EQ(keys.integer("a.none", 5), 5);
    ASSERT_EQ(found.tensors().size(), 2);
    EXPECT_EQ(found.tensors()[0].shape, (std::vector<int64_t>{2, 32}));
    EXPECT_EQ(found.tensors()[0].blocks.size(), 68);
    EXPECT_EQ(found.tensors()[1].blocks.size(), 12);
  }
}

TEST_F(Gguf, values_of_other_kinds_are_refused_by_key) {
  GgufBuilder file;
  file.size("size", 7).text("text", "\xFF").integers("differ", {1, 2}).number("nan", NAN);
  file.key("huge", GgufKind::kUint64, std::string(8, '\xFF'));
  const GgufFile found = open(file);
  const GgufKeys& keys = found.keys();
  EXPECT_ERROR(keys.integer("none"), "a.gguf: none: expected the key, found none");
  EXPECT_ERROR(keys.text("size"), "a.gguf: size: expected a string, found a uint32");
  EXPECT_ERROR(keys.number("size"), "a.gguf: size: expected a number, found a uint32");
  EXPECT_ERROR(keys.texts("differ"), "expected an array of strings, found an array of 2 int32");
  EXPECT_ERROR(keys.integer("differ"), "expected one number for all layers, found 1 and 2");
  EXPECT_ERROR(keys.integer("huge"), "huge: expected an integer, found a uint64");
  EXPECT_ERROR(keys.number("nan"), "nan: expected a finite number, found nan");
  EXPECT_ERROR(keys.text("text"), "text: expected UTF-8, found other bytes");
}

TEST_F(Gguf, files_of_another_kind_are_named) {
  EXPECT_ERROR(open(std::string("{}  ")), "a.gguf: expected a GGUF file, found JSON");
  EXPECT_ERROR(open(std::string("GGU")), "the word GGUF: expected 4 bytes from byte 0 on");
  EXPECT_ERROR(open(std::string("GGUG0000")), "expected to begin with the word GGUF");
  GgufBuilder file;
  file.version = 1;
  EXPECT_ERROR(open(file), "version: expected 2 or 3, found 1");
  file.version = 3U << 24;
  EXPECT_ERROR(open(file), "(a file for big-endian machines?)");
}

TEST_F(Gguf, every_cut_is_refused) {
  GgufBuilder file = testing_support::tiny_gguf();
  file.texts("tokenizer.ggml.tokens", {"a", "b"});
  const std::string whole = file.build();
  for (size_t size = 0; size < whole.size(); size += 1 + size / 32) {
    EXPECT_ERROR(open(whole.substr(0, size)), size == 0 ? "an empty file" : "a.gguf: ");
  }
}

TEST_F(Gguf, counts_beyond_the_file_are_refused_before_anything_is_allocated) {
  const std::string begin = "GGUF" + bytes_of_number(3U);
  const auto huge = bytes_of_number(uint64_t{1} << 60), none = bytes_of_number(uint64_t{0});
  const auto one = bytes_of_number(uint64_t{1});
  EXPECT_ERROR(open(begin + huge + none), "the number of tensors: expected at most 0");
  EXPECT_ERROR(open(begin + none + huge), "the number of keys: expected at most 0");
  EXPECT_ERROR(open(begin + none + one + huge + std::string(40, 'a')),
               "a key: expected 1152921504606846976 bytes");
  const auto with_array = [&](GgufKind kind, uint64_t count) {
    return GgufBuilder().key("k", GgufKind::kArray,
                             GgufBuilder::array_of(kind, count) + std::string(64, '\0'));
  };
  EXPECT_ERROR(open(with_array(GgufKind::kUint64, uint64_t{1} << 61)), "k: expected at most");
  EXPECT_ERROR(open(with_array(GgufKind::kString, ~uint64_t{0})), "k: expected at most");
  EXPECT_ERROR(open(with_array(GgufKind::kArray, 1)), "expected items that are no arrays");
  EXPECT_ERROR(open(GgufBuilder().key("k", static_cast<GgufKind>(13), "")),
               "k: expected a kind of value from 0 to 12, found 13");
}

TEST_F(Gguf, tensors_that_cannot_be_are_refused) {
  const auto with = [&](const std::vector<uint64_t>& shape, uint32_t type, int64_t begin = -1) {
    return GgufBuilder().tensor("t", shape, type, std::string(128, '\0'), begin);
  };
  EXPECT_ERROR(open(with({2, 33}, kQ80)),
               "tensor t: expected rows of whole blocks of 32 values "
               "(Q8_0), found rows of 33");
  EXPECT_ERROR(open(with({2, 32}, kIq4Xs)), "found IQ4_XS");
  EXPECT_ERROR(open(with({2, 32}, 77)), "found 77");
  EXPECT_ERROR(open(with({0, 32}, kQ80)),
               "a.gguf: tensor t: expected sizes of at least 1, found 0");
  EXPECT_ERROR(open(with({~uint64_t{0}}, kFloat32)), "found 18446744073709551615");
  EXPECT_ERROR(open(with({1ULL << 31, 1ULL << 31, 4}, kFloat32)), "found more than 2^63 bytes");
  EXPECT_ERROR(open(with({1, 1, 1, 1, 1}, kFloat32)),
               "a.gguf: tensor t: expected at most 4 sizes, found 5");
  EXPECT_ERROR(open(with({33}, kFloat32)),
               "expected 132 bytes from byte 0 of the data on, found 128");
  EXPECT_ERROR(open(with({8}, kFloat32, 128)), "expected 32 bytes from byte 128 of the data on");
  EXPECT_ERROR(open(with({8}, kFloat32, int64_t{1} << 62)),
               "tensor t: expected 32 bytes from byte");
  EXPECT_ERROR(open(with({8}, kFloat32, 4)), "expected to begin at a multiple of 32, found 4");
}

TEST_F(Gguf, tensors_in_one_another_and_names_that_come_twice_are_refused) {
  GgufBuilder file;
  file.zeros("a", {16}).tensor("b", {8}, kFloat32, "", 32);
  EXPECT_ERROR(open(file),
               "tensor b: expected to begin at byte 64 of the data or later, found 32 "
               "(inside a)");
  EXPECT_ERROR(open(GgufBuilder().zeros("a", {8}).zeros("a", {8})),
               "tensor a: expected a name of its own, found it twice");
  EXPECT_ERROR(open(GgufBuilder().size("k", 1).size("k", 1)), "k: expected the key once");
}

TEST_F(Gguf, names_are_lines_of_text) {
  EXPECT_ERROR(open(GgufBuilder().zeros(std::string(300000, 'x'), {8})),
               "a.gguf: the name of tensor 0: expected at most 255 bytes, found 300000");
  EXPECT_ERROR(open(GgufBuilder().zeros("\xFF", {8})),
               "a.gguf: the name of tensor 0: expected UTF-8, found other bytes");
  EXPECT_ERROR(open(GgufBuilder().size(std::string(256, 'k'), 1)),
               "a.gguf: the name of key 0: expected at most 255 bytes, found 256");
}

TEST_F(Gguf, alignment_is_the_files_own) {
  GgufBuilder file;
  file.alignment = 64;
  file.size("general.alignment", 64).zeros("a", {1}).zeros("b", {1});
  EXPECT_EQ(open(file).tensors().size(), 2);
  EXPECT_ERROR(open(GgufBuilder().size("general.alignment", 0)),
               "general.alignment: expected a power of two of at most 2^32, found 0");
  EXPECT_ERROR(open(GgufBuilder().size("general.alignment", 24)), "found 24");
}

}  // namespace
}  // namespace hypenet
