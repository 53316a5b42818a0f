// Free memory read from small trees of files as Linux writes them.
#include "base/host_memory.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/system_files.h"

namespace hypenet {
namespace {

class HostMemoryTest : public testing::Test, protected testing_support::SystemFiles {
 protected:
  void write_host() {
    write("proc/meminfo", "MemTotal:  8000 kB\nMemFree:  100 kB\nMemAvailable:  4000 kB\n");
  }
  int64_t found() const { return available_memory(root()); }
};

TEST_F(HostMemoryTest, what_the_host_has_available) {
  write_host();
  EXPECT_EQ(found(), 4000 * 1024);
}

TEST_F(HostMemoryTest, without_files_nothing_limits) {
  EXPECT_EQ(found(), std::numeric_limits<int64_t>::max());
}

TEST_F(HostMemoryTest, a_group_of_version_2_has_its_limit_less_what_it_cannot_drop) {
  write_host();
  write("sys/fs/cgroup/memory.max", "1000000");
  write("sys/fs/cgroup/memory.current", "700000");
  write("sys/fs/cgroup/memory.stat", "anon 400000\nactive_file 20000\ninactive_file 50000");
  EXPECT_EQ(found(), 370000);
  write("sys/fs/cgroup/memory.max", "max");
  EXPECT_EQ(found(), 4000 * 1024);
}

TEST_F(HostMemoryTest, the_least_of_the_groups_around_counts) {
  write_host();
  write("proc/self/cgroup", "0::/outer/inner");
  write("sys/fs/cgroup/outer/memory.max", "2000000");
  write("sys/fs/cgroup/outer/memory.current", "1500000");
  write("sys/fs/cgroup/outer/inner/memory.max", "1000000");
  write("sys/fs/cgroup/outer/inner/memory.current", "100000");
  EXPECT_EQ(found(), 500000);
  write("sys/fs/cgroup/outer/memory.current", "2100000");  // more than it may
  EXPECT_EQ(found(), 0);
}

TEST_F(HostMemoryTest, a_limit_of_version_1_counts) {
  write_host();
  write("proc/self/cgroup", "4:memory:/job\n3:cpu,cpuacct:/other");
  write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "900000");
  write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "300000");
  write("sys/fs/cgroup/memory/job/memory.stat", "cache 5\ninactive_file 1000");
  EXPECT_EQ(found(), 601000);
}

}  // namespace
}  // namespace hypenet
