// What doctor says of machines that this one is not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "cli/machine_facts.h"
#include "tests/support/program.h"
#include "tests/support/system_files.h"

namespace hypenet {
namespace {

using Kind = Finding::Kind;
using testing::HasSubstr;

constexpr int64_t kGibibyte = int64_t{1} << 30;

/// A machine with all that is looked for.
MachineFacts good_machine() {
  return {
      .features = {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16",
                   "avx512_vnni"},
      .all_cores = 8,
      .cores = 8,
      .threads = 8,
      .memory = 64 * kGibibyte,
      .available_memory = 32 * kGibibyte,
      .torch_expected = "2.11.0",
      .torch_found = "2.11.0",
      .has_kernels = true,
      .torch_has_cuda = true,
      .driver = {
          .is_there = true, .version = 13000, .gpus = {{"NVIDIA H200", 141 * kGibibyte, 9, 0}}}};
}

/// The one thing that is found.
void expect(const MachineFacts& facts, Kind kind, const char* text) {
  const std::vector<Finding> found = find_faults(facts);
  ASSERT_EQ(found.size(), 1) << text;
  EXPECT_EQ(found[0].kind, kind) << found[0].text;
  EXPECT_THAT(found[0].text, HasSubstr(text));
}

TEST(Doctor, nothing_is_found_on_a_good_machine) {
  EXPECT_TRUE(find_faults(good_machine()).empty());
}

TEST(Doctor, what_is_slow_is_told_with_its_reason) {
  MachineFacts facts = good_machine();
  facts.features = {"sse2"};
  expect(facts, Kind::kSlow, "no AVX2 with FMA");
  facts.features = {"avx2", "fma"};
  expect(facts, Kind::kSlow, "no AVX-512: the kernels take 8 numbers at a time");
  facts = good_machine(), facts.features.erase("avx512_bf16");
  expect(facts, Kind::kSlow, "no AVX-512 BF16");
  facts = good_machine(), facts.omp_num_threads = "2", facts.threads = 2;
  expect(facts, Kind::kSlow, "OMP_NUM_THREADS is 2: 2 of 8 cores compute");
  facts.threads = 16, facts.omp_num_threads = "16";
  expect(facts, Kind::kSlow, "16 threads share 8 cores");
  facts = good_machine(), facts.available_memory = kGibibyte;
  expect(facts, Kind::kSlow, "only 1.0 GiB of memory can be taken");
  facts = good_machine(), facts.cores = facts.threads = 4;
  expect(facts, Kind::kNote, "leaves 4 of 8 cores");
}

TEST(Doctor, gpus_that_are_not_used_are_told) {
  MachineFacts facts = good_machine();
  facts.has_kernels = facts.torch_has_cuda = false;
  expect(facts, Kind::kSlow, "this program has no device code: hypenet-cuda has");
  facts.driver = {};
  EXPECT_TRUE(find_faults(facts).empty()) << "a CPU's program on a machine without GPU";
  facts.has_kernels = true;
  expect(facts, Kind::kNote, "no GPU: --device cuda is refused");
  facts = good_machine(), facts.driver.gpus[0].major = 7;
  expect(facts, Kind::kSlow, "GPU 0 (compute capability 7.0): the kernels need 8.0");
  facts.driver.gpus[0].major = 8;
  expect(facts, Kind::kSlow, "runs the kernels of 8.0");
}

TEST(Doctor, what_is_broken_comes_first) {
  MachineFacts facts = good_machine();
  facts.torch_found = "2.12.0";
  expect(facts, Kind::kBroken, "libtorch: expected version 2.11.0, which this program was built");
  facts = good_machine(), facts.computes = false;
  expect(facts, Kind::kBroken, "expected a product of two matrices");
  facts = good_machine(), facts.torch_has_cuda = false;
  expect(facts, Kind::kBroken, "its CUDA is newer than the driver's 13.0");
  facts = good_machine(), facts.driver.fault = "cuInit: expected 0, found error 803";
  expect(facts, Kind::kBroken, "does not work: cuInit: expected 0, found error 803");
  facts.features.erase("avx512_bf16");
  ASSERT_EQ(find_faults(facts).size(), 2);
  EXPECT_EQ(find_faults(facts).front().kind, Kind::kBroken);
}

TEST(Doctor, files_of_linux_tell_processor_and_memory) {
  const testing_support::SystemFiles files;
  std::string cpuinfo;
  for (int i = 0; i < 4; ++i) {
    cpuinfo += concat("processor\t: ", i, "\nmodel name\t: A Processor @ 2 GHz\nphysical id\t: 0\n",
                      "core id\t\t: ", i / 2, "\nflags\t\t: fpu avx2 fma avx512f\n\n");
  }
  files.write("proc/cpuinfo", cpuinfo);
  files.write("proc/meminfo", "MemTotal:       16384000 kB\nMemFree: 5 kB");
  const MachineFacts facts = read_machine(files.root());
  EXPECT_EQ(facts.processor, "A Processor @ 2 GHz");
  EXPECT_EQ(facts.all_cores, 2) << "of two threads each";
  EXPECT_EQ(facts.memory, 16384000LL * 1024);
  EXPECT_EQ(instruction_sets(facts),
            "AVX2, FMA, AVX-512; no AVX-512 VNNI, AVX VNNI, AVX-512 BF16, AMX int8, AMX BF16");
  EXPECT_EQ(read_machine("/nowhere").all_cores, 0);
}

TEST(Doctor, a_machine_without_driver_has_none) {
  const CudaDriver driver = find_cuda_driver("libno-such-driver.so.1");
  EXPECT_FALSE(driver.is_there);
  EXPECT_TRUE(driver.gpus.empty());
  // A library that is there and is no driver.
  EXPECT_THAT(find_cuda_driver("libm.so.6").fault, HasSubstr("cuDriverGetVersion: expected in"));
}

TEST(Doctor, a_driver_tells_its_gpus_until_something_fails) {
  const CudaDriver driver = find_cuda_driver(HYPENET_FAKE_DRIVER);
  EXPECT_TRUE(driver.is_there);
  EXPECT_EQ(driver.version, 13010);
  ASSERT_EQ(driver.gpus.size(), 1);
  EXPECT_EQ(driver.gpus[0].name, "A GPU");
  EXPECT_EQ(driver.gpus[0].bytes, 8 * kGibibyte);
  EXPECT_EQ(driver.gpus[0].major, 9);
  EXPECT_EQ(driver.gpus[0].minor, 1);
  EXPECT_EQ(driver.fault, "cuDeviceTotalMem_v2: expected 0, found error 999");
}

TEST(DoctorProgram, says_what_this_machine_has) {
  const auto text = testing_support::run_program({"doctor"});
  EXPECT_EQ(text.code, 0) << text.error << text.out;
  for (const char* word : {"libtorch", "processor", "memory", "NVIDIA driver", "built with"}) {
    EXPECT_THAT(text.out, HasSubstr(word));
  }
  const auto result = testing_support::run_program({"doctor", "--json"});
  ASSERT_EQ(result.code, 0) << result.error;
  const Json json = parse_json(result.out, "doctor");
  EXPECT_GE(json["cores"], 1);
  EXPECT_GE(json["all_cores"], json["cores"]);
  EXPECT_GT(json["available_memory_bytes"], 0);
  EXPECT_GE(json["memory_bytes"], json["available_memory_bytes"]);
  EXPECT_FALSE(json["device_code"]) << "build/hypenet is the CPU's";
  EXPECT_TRUE(
      std::filesystem::exists(json["libtorch"]["folder"].get<std::string>() + "/libtorch_cpu.so"));
}

}  // namespace
}  // namespace hypenet
