# The installed CMake package (docs/embedding.md): static libraries of the rooms up to the engine, their headers, and
# hypenetConfig.cmake. Component `cpu` is complete without the others.
set(HYPENET_INSTALLED_ROOMS base gguf kernels ops text lowbit store model engine)
foreach(room ${HYPENET_INSTALLED_ROOMS})
  set_target_properties(hypenet_${room} PROPERTIES EXPORT_NAME ${room}_room)
  target_compile_features(hypenet_${room} PUBLIC cxx_std_20)
  install(TARGETS hypenet_${room} EXPORT hypenetTargets ARCHIVE DESTINATION lib/hypenet COMPONENT cpu)
  install(DIRECTORY src/${room} DESTINATION include/hypenet COMPONENT cpu FILES_MATCHING PATTERN "*.h" PATTERN "*cuda" EXCLUDE PATTERN "device.h" EXCLUDE
    PATTERN "cpu" EXCLUDE PATTERN "reference" EXCLUDE)
endforeach()

# Device code or its stand-ins, whole: each package target links one of the two.
add_library(hypenet_no_device STATIC $<TARGET_OBJECTS:hypenet_no_cuda>)
set_target_properties(hypenet_no_device PROPERTIES EXPORT_NAME no_device LINKER_LANGUAGE CXX)
install(TARGETS hypenet_no_device EXPORT hypenetTargets ARCHIVE DESTINATION lib/hypenet COMPONENT cpu)
install(EXPORT hypenetTargets NAMESPACE hypenet:: DESTINATION lib/cmake/hypenet COMPONENT cpu)
if(HYPENET_CUDA)
  add_library(hypenet_device STATIC ${HYPENET_CUDA_OBJECTS})
  set_target_properties(hypenet_device PROPERTIES EXPORT_NAME device LINKER_LANGUAGE CXX)
  install(TARGETS hypenet_device EXPORT hypenetCudaTargets ARCHIVE DESTINATION lib/hypenet COMPONENT cuda)
  install(EXPORT hypenetCudaTargets NAMESPACE hypenet:: DESTINATION lib/cmake/hypenet COMPONENT cuda)
endif()

include(CMakePackageConfigHelpers)
configure_package_config_file(cmake/hypenetConfig.cmake.in ${CMAKE_BINARY_DIR}/hypenetConfig.cmake
  INSTALL_DESTINATION lib/cmake/hypenet)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/hypenetConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/hypenetConfig.cmake ${CMAKE_BINARY_DIR}/hypenetConfigVersion.cmake cmake/TorchTargets.cmake
  DESTINATION lib/cmake/hypenet COMPONENT cpu)
