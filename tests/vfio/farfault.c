// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device for the kernel's VFIO selftests (tools/testing/selftests/vfio): memory
 * that is copied by DMA, and an MSI, without any driver in the kernel.
 *
 * The device's page table maps all addresses to themselves. So an IOVA is what
 * the tests mapped, or nothing, and the IOMMU alone says which.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <linux/io.h>
#include <linux/sizes.h>

#include <libvfio.h>

#include "base/abi.h"

/* There is one queue, in one address space. */
#define QUEUE		0
#define PASID		1
#define COMMANDS	16
#define FAULTS		64
#define DESCRIPTORS	256

/* Where the device finds things of an address are 512 GiB. */
#define SLOT_SHIFT	39
#define SLOTS		16
#define LEAF_SHIFT	30
#define ENTRIES		FF_PT_ENTRIES

struct command_ring {
	struct ff_ring_header header;
	struct ff_command entries[COMMANDS];
};

struct fault_ring {
	struct ff_ring_header header;
	struct ff_fault entries[FAULTS];
};

struct descriptor_ring {
	struct ff_ring_header header;
	struct ff_descriptor entries[DESCRIPTORS];
};

/* What device and driver share, at the start of the driver's region. */
struct shared {
	u64 root[ENTRIES];
	u64 slots[SLOTS][ENTRIES];
	struct ff_context contexts[PASID + 1] __attribute__((aligned(SZ_4K)));
	struct command_ring commands __attribute__((aligned(128)));
	struct fault_ring faults __attribute__((aligned(128)));
	struct descriptor_ring descriptors __attribute__((aligned(128)));
	struct ff_completion completion __attribute__((aligned(64)));
	__le64 waited;
	/* What only the driver looks at. */
	u64 fence;
	unsigned int used;
};

static struct shared *shared_of(struct vfio_pci_device *device)
{
	return device->driver.region.vaddr;
}

static void *registers_of(struct vfio_pci_device *device)
{
	return device->bars[FF_BAR_REGISTERS].vaddr;
}

static void ring(struct vfio_pci_device *device, unsigned int doorbell)
{
	writel(1, device->bars[FF_BAR_DOORBELLS].vaddr +
		  doorbell * FF_DOORBELL_STRIDE);
}

/* Rings' indices run on. What is behind one is there before it. */
static void publish(__le32 *index, u32 value)
{
	__atomic_store_n(index, value, __ATOMIC_RELEASE);
}

static u64 seen(__le64 *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* Has the device map the 512 GiB around an address to themselves. */
static void map_around(struct vfio_pci_device *device, iova_t iova)
{
	struct shared *shared = shared_of(device);
	unsigned int slot = iova >> SLOT_SHIFT;
	unsigned int i;
	u64 *table;

	VFIO_ASSERT_LT(slot, ENTRIES);
	if (shared->root[slot])
		return;
	VFIO_ASSERT_LT(shared->used, SLOTS);
	table = shared->slots[shared->used++];
	for (i = 0; i < ENTRIES; i++)
		table[i] = ((u64)slot << SLOT_SHIFT) + ((u64)i << LEAF_SHIFT) +
			   (FF_PTE_VALID | FF_PTE_LEAF | FF_PTE_READ | FF_PTE_WRITE);
	__atomic_store_n(&shared->root[slot], to_iova(device, table) | FF_PTE_VALID,
			 __ATOMIC_RELEASE);
}

static void command(struct vfio_pci_device *device, struct ff_command command)
{
	struct command_ring *commands = &shared_of(device)->commands;
	u32 tail = commands->header.tail;

	commands->entries[tail % COMMANDS] = command;
	publish(&commands->header.tail, tail + 1);
	ring(device, FF_DOORBELL_COMMAND);
}

/* Waits until the device has carried out all commands. */
static void drain(struct vfio_pci_device *device)
{
	struct shared *shared = shared_of(device);
	u64 fence = ++shared->fence;

	command(device, (struct ff_command) {
		.opcode = FF_CMD_WAIT,
		.address = to_iova(device, &shared->waited),
		.value = fence,
	});
	while (seen(&shared->waited) != fence)
		;
}

/* Clearing it has the device forget all. */
static void disable(struct vfio_pci_device *device)
{
	writel(0, registers_of(device) + FF_REG_CTRL);
	while (readl(registers_of(device) + FF_REG_STATUS) & FF_STATUS_READY)
		;
}

static void enable(struct vfio_pci_device *device)
{
	struct shared *shared = shared_of(device);
	void *registers = registers_of(device);

	writeq(to_iova(device, shared->contexts), registers + FF_REG_CONTEXT_BASE);
	writel(PASID + 1, registers + FF_REG_CONTEXT_ENTRIES);
	writeq(to_iova(device, &shared->commands), registers + FF_REG_COMMAND_BASE);
	writel(COMMANDS, registers + FF_REG_COMMAND_ENTRIES);
	writeq(to_iova(device, &shared->faults), registers + FF_REG_FAULT_BASE);
	writel(FAULTS, registers + FF_REG_FAULT_ENTRIES);
	writel(FF_CTRL_ENABLE, registers + FF_REG_CTRL);
	while (!(readl(registers + FF_REG_STATUS) & FF_STATUS_READY))
		VFIO_ASSERT_EQ(readl(registers + FF_REG_ERRORS), 0);
}

static void set_command_bits(struct vfio_pci_device *device, u16 bits)
{
	u16 command = vfio_pci_config_readw(device, PCI_COMMAND);

	vfio_pci_config_writew(device, PCI_COMMAND, command | bits);
}

static int farfault_probe(struct vfio_pci_device *device)
{
	if (!vfio_pci_device_match(device, FF_PCI_VENDOR, FF_PCI_DEVICE))
		return -EINVAL;
	/* Only with memory enabled does it answer. */
	set_command_bits(device, PCI_COMMAND_MEMORY);
	if (readl(registers_of(device) + FF_REG_ID) != FF_ID_MAGIC ||
	    readl(registers_of(device) + FF_REG_VERSION) != FF_VERSION ||
	    !(readq(registers_of(device) + FF_REG_FEATURES) & FF_FEATURE_LEAF_1G))
		return -EINVAL;
	return 0;
}

static void farfault_init(struct vfio_pci_device *device)
{
	struct vfio_pci_driver *driver = &device->driver;
	struct shared *shared = shared_of(device);

	VFIO_ASSERT_GE(driver->region.size, sizeof(*shared));
	set_command_bits(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				 PCI_COMMAND_INTX_DISABLE);
	disable(device);
	memset(shared, 0, sizeof(*shared));
	shared->contexts[PASID].root =
		to_iova(device, shared->root) | FF_CONTEXT_VALID;
	enable(device);
	vfio_pci_msix_enable(device, 0, device->msix_info.count);

	map_around(device, driver->region.iova);
	command(device, (struct ff_command) {
		.opcode = FF_CMD_QUEUE_ENABLE,
		.queue = QUEUE,
		.pasid = PASID,
		.address = to_iova(device, &shared->descriptors),
		.value = DESCRIPTORS,
		.extra = FF_VECTOR_QUEUE,
	});
	drain(device);

	driver->msi = FF_VECTOR_QUEUE;
	driver->max_memcpy_size = SZ_1M;
	driver->max_memcpy_count = DESCRIPTORS;
}

static void farfault_remove(struct vfio_pci_device *device)
{
	disable(device);
	vfio_pci_msix_disable(device);
}

/* Enters a descriptor; the device does not look yet. */
static void submit(struct vfio_pci_device *device, struct ff_descriptor descriptor)
{
	struct shared *shared = shared_of(device);
	struct descriptor_ring *descriptors = &shared->descriptors;
	u32 tail = descriptors->header.tail;

	descriptor.completion = to_iova(device, &shared->completion);
	descriptor.fence = ++shared->fence;
	descriptors->entries[tail % DESCRIPTORS] = descriptor;
	publish(&descriptors->header.tail, tail + 1);
}

static void farfault_memcpy_start(struct vfio_pci_device *device, iova_t src,
				  iova_t dst, u64 size, u64 count)
{
	map_around(device, src);
	map_around(device, dst);
	while (count--)
		submit(device, (struct ff_descriptor) {
			.opcode = FF_OP_COPY,
			.source = src,
			.destination = dst,
			.length = size,
		});
	ring(device, QUEUE);
}

/* Refuses the pages that the device asks for: says how many there were. */
static int refuse(struct vfio_pci_device *device)
{
	struct fault_ring *faults = &shared_of(device)->faults;
	u32 head = faults->header.head;
	struct ff_fault *fault;
	int refused = 0;

	while (head != __atomic_load_n(&faults->header.tail, __ATOMIC_ACQUIRE)) {
		fault = &faults->entries[head % FAULTS];
		VFIO_ASSERT_EQ(fault->kind, FF_FAULT_PAGE_REQUEST);
		if (fault->flags & FF_FAULT_LAST)
			command(device, (struct ff_command) {
				.opcode = FF_CMD_PAGE_RESPONSE,
				.flags = FF_RESPONSE_FAIL,
				.queue = fault->queue,
				.address = fault->address,
				.value = fault->group,
			});
		publish(&faults->header.head, ++head);
		refused++;
	}
	if (refused)
		drain(device);
	return refused;
}

static int farfault_memcpy_wait(struct vfio_pci_device *device)
{
	struct shared *shared = shared_of(device);
	u64 fence = shared->fence;
	int refused = 0;

	/* A refusal makes use of the fence, too. */
	while (seen(&shared->completion.fence) != fence)
		refused += refuse(device);
	return refused || shared->completion.status != FF_STATUS_OK ? -1 : 0;
}

static void farfault_send_msi(struct vfio_pci_device *device)
{
	submit(device, (struct ff_descriptor) {
		.opcode = FF_OP_NOP,
		.flags = FF_DESC_IRQ,
	});
	ring(device, QUEUE);
	VFIO_ASSERT_EQ(farfault_memcpy_wait(device), 0);
}

struct vfio_pci_driver_ops farfault_ops = {
	.name = "farfault",
	.probe = farfault_probe,
	.init = farfault_init,
	.remove = farfault_remove,
	.memcpy_start = farfault_memcpy_start,
	.memcpy_wait = farfault_memcpy_wait,
	.send_msi = farfault_send_msi,
};
