# Faults against session-storage; included by tests/CMakeLists.txt.
lucid_tests(fault_storage
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/storage_disk_test.cpp ${CMAKE_CURRENT_LIST_DIR}/storage_kill_test.cpp
  DEPS lucid_session_storage lucid_crypto)
