// safetensors files: round trips are bit-identical, and every broken file is one clear Error.
#include "store/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing::ElementsAre;

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         (a.numel() == 0 ||
          std::memcmp(a.contiguous().data_ptr(), b.contiguous().data_ptr(), a.nbytes()) == 0);
}

/// A file with this header, then `data_bytes` zeros.
std::string file_bytes(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + header + std::string(data_bytes, '\0');
}

class BrokenSafetensors : public testing::Test {
 protected:
  /// Expects that opening these bytes gives an Error with the file's name and then the text.
  void expect(const std::string& bytes, const std::string& text) {
    const auto path = folder_ / "x.safetensors";
    write_file(path, bytes);
    EXPECT_ERROR(SafetensorsFile(path), path.string() + ": " + text);
  }

  TemporaryFolder folder_;
};

TEST(Safetensors, every_type_comes_back_bit_for_bit) {
  const TemporaryFolder folder;
  NamedTensors tensors;
  for (const auto type : {torch::kFloat32, torch::kFloat16, torch::kBFloat16, torch::kFloat64,
                          torch::kInt64, torch::kInt32, torch::kUInt8, torch::kBool}) {
    tensors.emplace_back(torch::toString(type), (torch::rand({3, 5}) * 9 - 1).to(type));
  }
  tensors.emplace_back("not a number", torch::full({2}, NAN));
  tensors.emplace_back("scalar", torch::tensor(0.25));
  tensors.emplace_back("empty", torch::empty({0, 7}));
  write_safetensors(folder / "x.safetensors", tensors, {{"format", "pt"}});
  const SafetensorsFile file(folder / "x.safetensors");
  EXPECT_EQ(file.names().size(), tensors.size());
  for (const auto& [name, tensor] : tensors)
    EXPECT_TRUE(same_bytes(file.tensor(name), tensor)) << name;
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST(Safetensors, tensors_lie_aligned_in_the_file) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", {{"a", torch::ones({3}, torch::kUInt8)},
                                               {"b", torch::ones({3}, torch::kFloat64)}});
  const SafetensorsFile file(folder / "x.safetensors");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.tensor("b").data_ptr()) % 8, 0u);
  // Shared with the mapping, not copied: two views have one address.
  EXPECT_EQ(file.tensor("b").data_ptr(), file.tensor("b").data_ptr());
}

TEST(Safetensors, strided_tensors_are_written_in_row_order) {
  const TemporaryFolder folder;
  const Tensor transposed = torch::arange(6).reshape({2, 3}).t();
  write_safetensors(folder / "x.safetensors", {{"t", transposed}});
  EXPECT_TRUE(SafetensorsFile(folder / "x.safetensors").tensor("t").equal(transposed));
}

TEST(Safetensors, a_tensor_outlives_its_file) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", {{"t", torch::arange(1000)}});
  Tensor tensor;
  {
    const SafetensorsFile file(folder / "x.safetensors");
    tensor = file.tensor("t");
  }
  EXPECT_EQ(tensor.sum().item<int64_t>(), 499500);
}

TEST(Safetensors, a_file_written_by_python_is_read) {
  const SafetensorsFile file(HYPENET_TEST_DATA "/store/python.safetensors");
  EXPECT_THAT(file.names(), ElementsAre("BF16", "BOOL", "F16", "F32", "F64", "I32", "I64", "U8",
                                        "empty", "scalar"));
  const Tensor expected = torch::arange(6).reshape({2, 3});
  for (const char* name : {"BF16", "F16", "F32", "F64", "I32", "I64", "U8"}) {
    EXPECT_TRUE(file.tensor(name).to(torch::kInt64).equal(expected)) << name;
  }
  EXPECT_EQ(file.tensor("I32").scalar_type(), torch::kInt32);
  EXPECT_TRUE(file.tensor("BOOL").equal(torch::tensor({true, false, true})));
  EXPECT_EQ(file.tensor("scalar").item<float>(), 0.1f);
  EXPECT_EQ(file.tensor("empty").sizes(), torch::IntArrayRef({0, 4}));
  EXPECT_EQ(file.metadata().at("note"), "written by Python");
}

TEST(Safetensors, an_unaligned_tensor_is_read) {
  const TemporaryFolder folder;
  // The header's 71 bytes put the data at byte 79.
  const std::string header =
      R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" + std::string(17, ' ');
  std::string bytes = file_bytes(header, 8);
  const float value = 2.5;
  std::memcpy(bytes.data() + bytes.size() - 4, &value, 4);
  write_file(folder / "x.safetensors", bytes);
  EXPECT_TRUE(
      SafetensorsFile(folder / "x.safetensors").tensor("t").equal(torch::tensor({0.0f, 2.5f})));
}

TEST(Safetensors, a_missing_tensor_is_named) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", {{"t", torch::ones({1})}});
  EXPECT_ERROR(SafetensorsFile(folder / "x.safetensors").tensor("u"),
               "x.safetensors: tensor u: expected it");
}

TEST(Safetensors, a_write_that_fails_leaves_the_old_file) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", {{"t", torch::ones({1})}});
  EXPECT_ERROR(
      write_safetensors(folder / "x.safetensors", {{"c", torch::ones({1}, torch::kComplexFloat)}}),
      "x.safetensors: tensor c: type ComplexFloat has no name in safetensors");
  EXPECT_ERROR(write_safetensors(folder / "x.safetensors",
                                 {{"t", torch::ones({1})}, {"t", torch::ones({2})}}),
               "x.safetensors: tensor t: expected a name of its own, found it twice");
  EXPECT_TRUE(SafetensorsFile(folder / "x.safetensors").contains("t"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST_F(BrokenSafetensors, too_short_for_a_header) {
  expect("", "expected a safetensors file, found an empty file");
  expect("1234567", "expected a header length of 8 bytes, found a file of 7");
}

TEST_F(BrokenSafetensors, header_longer_than_the_file) {
  expect(file_bytes("{}", 0).substr(0, 9), "expected a header of 2 bytes, found a file of 9");
  expect(std::string(8, '\xff') + "{}",
         "expected a header of 18446744073709551615 bytes, found a file of 10");
}

TEST_F(BrokenSafetensors, header_that_is_no_json_object) {
  expect(file_bytes("{\"t\":", 0), "header: expected JSON, found a syntax error at byte 6");
  expect(file_bytes("[1]", 0), "header: expected an object, found an array");
  expect(file_bytes(R"({"t":3})", 0), "tensor t: expected an object, found an integer");
  expect(file_bytes(R"({"__metadata__":{"a":1}})", 0),
         "__metadata__: a: expected a string, found an integer");
}

TEST_F(BrokenSafetensors, missing_keys) {
  expect(file_bytes(R"({"t":{"dtype":"F32","shape":[]}})", 4),
         "tensor t: expected key data_offsets, found none");
}

TEST_F(BrokenSafetensors, unknown_type) {
  expect(file_bytes(R"({"t":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[0,4]}})", 4),
         "tensor t: dtype: expected F32, F16, BF16, F64, F8_E4M3, I64, I32, I8, U8 or BOOL, found "
         "F8_E8M0");
  expect(file_bytes(R"({"t":{"dtype":32,"shape":[4],"data_offsets":[0,4]}})", 4),
         "tensor t: dtype: expected a string, found an integer");
}

TEST_F(BrokenSafetensors, impossible_shapes_and_offsets) {
  expect(file_bytes(R"({"t":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4),
         "tensor t: shape: expected integers of at least 0, found -1");
  expect(file_bytes(R"({"t":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}})",
                    4),
         "tensor t: shape [4294967296, 4294967296] is too large");
  expect(file_bytes(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[4]}})", 4),
         "tensor t: data_offsets: expected [begin, end], found [4]");
  expect(file_bytes(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}})", 4),
         "tensor t: data_offsets: expected [begin, end], found [8,4]");
}

TEST_F(BrokenSafetensors, size_that_does_not_fit_the_shape) {
  expect(file_bytes(R"({"t":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}})", 20),
         R"(tensor t: expected 24 bytes for "F32" [2,3], found data_offsets [0,20])");
}

TEST_F(BrokenSafetensors, truncated_data) {
  expect(file_bytes(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7),
         "tensor t: expected 8 bytes of data in the file, found 7 (truncated?)");
}

TEST_F(BrokenSafetensors, data_beyond_the_last_tensor) {
  expect(file_bytes(R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 3),
         "expected 2 bytes of data, found 3");
}

TEST_F(BrokenSafetensors, overlaps_and_holes) {
  const std::string first = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  expect(file_bytes("{" + first + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3),
         "tensor b: expected to begin at byte 2, found 1 (tensors overlap)");
  expect(file_bytes("{" + first + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})", 5),
         "tensor b: expected to begin at byte 2, found 3 (a hole between tensors)");
}

TEST_F(BrokenSafetensors, files_that_are_something_else) {
  expect("version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 988097824\n",
         "expected a safetensors file, found a Git LFS pointer (run git lfs pull)");
  expect("<html><body>Not found</body></html>", "expected a safetensors file, found an HTML page");
  expect("{\"error\": \"Repository not found\"}", "expected a safetensors file, found JSON");
  expect("PK\x03\x04 archive/data.pkl", "expected a safetensors file, found a zip archive");
  expect(std::string(100, '\0'), "expected a safetensors file, found zero bytes");
}

TEST_F(BrokenSafetensors, junk_after_the_header_s_json) {
  expect(file_bytes(std::string("{}\0{\"t\":", 9), 0), "header: expected JSON, found a NUL byte");
}

TEST_F(BrokenSafetensors, missing_file) {
  std::filesystem::create_symlink("../blobs/1", folder_ / "link.safetensors");
  EXPECT_ERROR(SafetensorsFile(folder_ / "link.safetensors"),
               "expected a safetensors file, found a link to a missing file (../blobs/1)");
  EXPECT_ERROR(SafetensorsFile(folder_ / "none.safetensors"),
               "none.safetensors: cannot open: No such file");
}

}  // namespace
}  // namespace hypenet
