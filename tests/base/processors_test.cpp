// Cores counted from small trees of files as Linux writes them.
#include "base/processors.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/support/system_files.h"

namespace hypenet {
namespace {

class ProcessorsTest : public testing::Test, protected testing_support::SystemFiles {
 protected:
  void write_siblings(int cpu, const std::string& siblings) {
    write("sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
          siblings);
  }
  /// Eight CPUs on four cores.
  void write_four_cores() {
    for (int cpu = 0; cpu < 8; ++cpu) {
      write_siblings(cpu, std::to_string(cpu % 4) + "," + std::to_string(cpu % 4 + 4));
    }
  }
  int64_t cores(const std::vector<int>& allowed) const { return physical_cores(root(), allowed); }

  const std::vector<int> all_ = {0, 1, 2, 3, 4, 5, 6, 7};
};

TEST_F(ProcessorsTest, hyperthreads_of_a_core_count_once) {
  write_four_cores();
  EXPECT_EQ(cores(all_), 4);
  EXPECT_EQ(cores({1, 5}), 1);
  EXPECT_EQ(cores({1, 2, 6, 7}), 3);
}

TEST_F(ProcessorsTest, without_files_every_cpu_is_a_core) {
  EXPECT_EQ(cores(all_), 8);
  EXPECT_EQ(cores({}), 1);
}

TEST_F(ProcessorsTest, a_quota_of_version_2_is_rounded_up) {
  write_four_cores();
  write("sys/fs/cgroup/cpu.max", "250000 100000");
  EXPECT_EQ(cores(all_), 3);
  write("sys/fs/cgroup/cpu.max", "max 100000");
  EXPECT_EQ(cores(all_), 4);
  write("sys/fs/cgroup/cpu.max", "10000 100000");
  EXPECT_EQ(cores(all_), 1);
}

TEST_F(ProcessorsTest, the_least_quota_of_the_groups_around_counts) {
  write_four_cores();
  write("proc/self/cgroup", "0::/outer/inner");
  write("sys/fs/cgroup/outer/cpu.max", "200000 100000");
  write("sys/fs/cgroup/outer/inner/cpu.max", "300000 100000");
  EXPECT_EQ(cores(all_), 2);
  write("sys/fs/cgroup/outer/inner/cpu.max", "50000 100000");
  EXPECT_EQ(cores(all_), 1);
}

TEST_F(ProcessorsTest, a_quota_of_version_1_counts) {
  write_four_cores();
  write("proc/self/cgroup", "4:memory:/job\n3:cpu,cpuacct:/job\n0::/");
  write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "150000");
  write("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000");
  EXPECT_EQ(cores(all_), 2);
  write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1");
  EXPECT_EQ(cores(all_), 4);
}

TEST(Processors, this_machine_has_some) {
  EXPECT_GE(physical_cores(), 1);
  EXPECT_LE(physical_cores(), std::max(1U, std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace hypenet
