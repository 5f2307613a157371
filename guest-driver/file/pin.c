// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registered buffers: the classic way to share memory with a device, beside
 * the mirror and for comparison with it. The pages that a buffer consists of
 * are pinned, mapped for DMA and entered in the context's page table once; no
 * notifier ever touches those entries. So the device never faults on them, and
 * mm can neither reclaim nor move the pages, nor does the device follow when
 * the process maps other pages there.
 *
 * A buffer has a device address of its own in the upper half, above what the
 * driver itself keeps there (file/resident.c). It is as far from a multiple of
 * 2 MiB as the buffer is, so that frames which fill 2 MiB become one leaf where
 * DMA addresses are physical, and no two buffers share a table of level 0.
 */
#include <linux/capability.h>
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "file/ctx.h"
#include "file/resident.h"
#include "hw/device.h"

/* Where registered buffers are for the device, in slots of this size. */
#define FF_PIN_START	(FF_RESIDENT_START + SZ_1G)
#define FF_SLOT_SHIFT	FF_LEVEL_SHIFT(1)
#define FF_SLOT_SIZE	FF_LEVEL_SIZE(1)

/* Pages pinned by one call: as many as one page has room to tell of. */
#define FF_PIN_BATCH	(PAGE_SIZE / sizeof(struct page *))

/**
 * struct ff_pin - A registered buffer
 * @start: first virtual address, page aligned
 * @pages: how many it covers
 * @writable: whether the device may write
 * @device: device address of the first page; set once there is one
 * @frames: the pages, and their DMA addresses once they are mapped
 */
struct ff_pin {
	unsigned long start;
	unsigned long pages;
	bool writable;
	u64 device;
	struct sg_append_table frames;
};

static u64 ff_pin_size(const struct ff_pin *pin)
{
	return (u64)pin->pages << PAGE_SHIFT;
}

/* --- Pages ---------------------------------------------------------------- */

/* Pinned pages count as locked ones do, though in a sum of their own. */
static int ff_pin_account(struct mm_struct *mm, unsigned long pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	unsigned long sum = atomic64_add_return(pages, &mm->pinned_vm);

	if (sum <= limit || capable(CAP_IPC_LOCK))
		return 0;
	atomic64_sub(pages, &mm->pinned_vm);
	return -ENOMEM;
}

static void ff_pin_pages_put(struct ff_pin *pin)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_sg(&pin->frames.sgt, sg, i)
		unpin_user_page_range_dirty_lock(sg_page(sg),
						 sg->length >> PAGE_SHIFT,
						 pin->writable);
	sg_free_append_table(&pin->frames);
}

/* Pins some pages from the @done-th on. Returns how many, or an error. */
static long ff_pin_batch(struct ff_pin *pin, unsigned long done,
			 struct page **pages)
{
	unsigned int flags = FOLL_LONGTERM | (pin->writable ? FOLL_WRITE : 0);
	unsigned long left = pin->pages - done;
	long pinned;
	int ret;

	pinned = pin_user_pages_fast(pin->start + (done << PAGE_SHIFT),
				     min(left, FF_PIN_BATCH), flags, pages);
	if (pinned <= 0)
		return pinned ?: -EFAULT;
	ret = sg_alloc_append_table_from_pages(&pin->frames, pages, pinned, 0,
					       pinned << PAGE_SHIFT,
					       UINT_MAX & PAGE_MASK,
					       left - pinned,
					       GFP_KERNEL_ACCOUNT);
	if (ret) {
		unpin_user_pages(pages, pinned);
		return ret;
	}
	return pinned;
}

static int ff_pin_pages_get(struct ff_ctx *ctx, struct ff_pin *pin)
{
	struct page **pages __free(free_page) =
		(void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	unsigned long done = 0;
	long ret = 0;

	if (!pages)
		return -ENOMEM;
	while (done < pin->pages) {
		if (READ_ONCE(ctx->mirror.closing))
			ret = -ENODEV;
		else if (fatal_signal_pending(current))
			ret = -EINTR;
		else
			ret = ff_pin_batch(pin, done, pages);
		if (ret < 0) {
			ff_pin_pages_put(pin);
			return ret;
		}
		done += ret;
		cond_resched();
	}
	return 0;
}

/* --- Addresses ------------------------------------------------------------ */

/* Enters frames that are contiguous and lie in one slot. */
static int ff_pin_enter(struct ff_ctx *ctx, u64 address, struct ff_leaf leaf,
			u64 size)
{
	struct ff_mirror *mirror = &ctx->mirror;
	unsigned int level;
	u64 offset;
	int ret;

	level = ctx->ff->leaf_level && size == FF_SLOT_SIZE &&
		IS_ALIGNED(leaf.entry & FF_PTE_ADDRESS, FF_SLOT_SIZE);
	ret = ff_mirror_lock_to_map(mirror);
	if (ret)
		return ret;
	for (offset = 0; offset < size && !ret; offset += FF_LEVEL_SIZE(level))
		ret = ff_pgtable_map(&mirror->pgt, address + offset, level,
				     ff_leaf_part(leaf, PHYS_PFN(offset)),
				     &mirror->spares);
	mutex_unlock(&mirror->lock);
	return ret;
}

/* Enters all frames from the pin's device address on. */
static int ff_pin_enter_all(struct ff_ctx *ctx, struct ff_pin *pin)
{
	u64 flags = FF_PTE_VALID | FF_PTE_LEAF | FF_PTE_READ |
		    (pin->writable ? FF_PTE_WRITE : 0);
	u64 address = pin->device, dma, left, size;
	struct scatterlist *sg;
	unsigned int i;
	int ret = 0;

	lockdep_assert_held(&ctx->pins.lock);
	for_each_sgtable_dma_sg(&pin->frames.sgt, sg, i) {
		dma = sg_dma_address(sg);
		for (left = sg_dma_len(sg); left && !ret; left -= size) {
			size = min(left, FF_SLOT_SIZE -
					 (address & (FF_SLOT_SIZE - 1)));
			ret = ff_pin_enter(ctx, address,
					   (struct ff_leaf) { flags | dma },
					   size);
			address += size;
			dma += size;
		}
	}
	if (ret)
		ff_resident_zap(ctx, pin->device, ff_pin_size(pin));
	return ret;
}

/*
 * Finds the pin a device address and enters it there. From then on anybody may
 * unregister it, so the address is handed out here.
 */
static int ff_pin_place(struct ff_ctx *ctx, struct ff_pin *pin, u64 *device)
{
	u64 offset = pin->start & (FF_SLOT_SIZE - 1);
	unsigned long slots = DIV_ROUND_UP(offset + ff_pin_size(pin),
					   FF_SLOT_SIZE);
	unsigned long slot;
	int ret;

	ACQUIRE(mutex_kill, lock)(&ctx->pins.lock);
	ret = ACQUIRE_ERR(mutex_kill, &lock);
	if (ret)
		return ret;
	ret = mtree_alloc_range(&ctx->pins.tree, &slot, pin, slots,
				FF_PIN_START >> FF_SLOT_SHIFT,
				(FF_PGTABLE_END >> FF_SLOT_SHIFT) - 1,
				GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret == -EBUSY ? -ENOSPC : ret;
	pin->device = ((u64)slot << FF_SLOT_SHIFT) + offset;
	*device = pin->device;
	ret = ff_pin_enter_all(ctx, pin);
	if (ret)
		mtree_erase(&ctx->pins.tree, slot);
	return ret;
}

/* --- Beginning and end ---------------------------------------------------- */

/* Maps for DMA and enters; undoes what it did if that fails. */
static int ff_pin_map(struct ff_ctx *ctx, struct ff_pin *pin, u64 *device)
{
	struct device *dev = ctx->ff->dev;
	int ret;

	/* The device and the process use it at once: no bounce buffers. */
	ret = dma_map_sgtable(dev, &pin->frames.sgt, DMA_BIDIRECTIONAL,
			      DMA_ATTR_REQUIRE_COHERENT);
	if (ret)
		return ret;
	ff_count(&ctx->ff->counters, FF_COUNT_PAGES_PINNED, pin->pages);
	ret = ff_pin_place(ctx, pin, device);
	if (!ret)
		return 0;
	ff_count(&ctx->ff->counters, FF_COUNT_PAGES_PINNED, -(s64)pin->pages);
	dma_unmap_sgtable(dev, &pin->frames.sgt, DMA_BIDIRECTIONAL,
			  DMA_ATTR_REQUIRE_COHERENT);
	return ret;
}

/* To pin takes as long as who provides the pages likes, so that comes first. */
static int ff_pin_start(struct ff_ctx *ctx, struct ff_pin *pin, u64 *device)
{
	int section, ret;

	ret = ff_pin_pages_get(ctx, pin);
	if (ret)
		return ret;
	ret = -ENODEV;
	if (ff_device_enter(ctx->ff, &section)) {
		ret = ff_pin_map(ctx, pin, device);
		ff_device_exit(ctx->ff, section);
	}
	if (ret)
		ff_pin_pages_put(pin);
	return ret;
}

/* The device cannot reach it any more. */
static void ff_pin_end(struct ff_ctx *ctx, struct ff_pin *pin)
{
	ff_count(&ctx->ff->counters, FF_COUNT_PAGES_PINNED, -(s64)pin->pages);
	dma_unmap_sgtable(ctx->ff->dev, &pin->frames.sgt, DMA_BIDIRECTIONAL,
			  DMA_ATTR_REQUIRE_COHERENT);
	ff_pin_pages_put(pin);
	atomic64_sub(pin->pages, &ctx->mirror.mm->pinned_vm);
	kfree(pin);
}

/* FF_IOC_REGISTER */
int ff_ioctl_register(struct ff_ctx *ctx, void *arg)
{
	struct ff_register *request = arg;
	u64 end, device;
	int ret;

	if (request->flags & ~FF_REGISTER_WRITE || request->reserved ||
	    !request->length ||
	    check_add_overflow(request->address, request->length, &end))
		return -EINVAL;
	if (!access_ok(u64_to_user_ptr(request->address), request->length))
		return -EFAULT;
	if (!ff_resident_possible())
		return -EOPNOTSUPP;

	struct ff_pin *pin __free(kfree) = kzalloc_obj(*pin, GFP_KERNEL_ACCOUNT);
	if (!pin)
		return -ENOMEM;
	pin->start = ALIGN_DOWN(request->address, PAGE_SIZE);
	pin->pages = (PAGE_ALIGN(end) - pin->start) >> PAGE_SHIFT;
	pin->writable = request->flags & FF_REGISTER_WRITE;
	ret = ff_pin_account(ctx->mirror.mm, pin->pages);
	if (ret)
		return ret;
	ret = ff_pin_start(ctx, pin, &device);
	if (ret) {
		atomic64_sub(pin->pages, &ctx->mirror.mm->pinned_vm);
		return ret;
	}
	retain_and_null_ptr(pin);
	request->device_address = device + offset_in_page(request->address);
	return 0;
}

/* FF_IOC_UNREGISTER */
int ff_ioctl_unregister(struct ff_ctx *ctx, void *arg)
{
	const struct ff_unregister *request = arg;
	u64 page = ALIGN_DOWN(request->device_address, PAGE_SIZE);
	struct ff_pin *pin;

	if (request->reserved)
		return -EINVAL;
	scoped_cond_guard(mutex_kill, return -EINTR, &ctx->pins.lock) {
		pin = mtree_load(&ctx->pins.tree, page >> FF_SLOT_SHIFT);
		if (!pin || pin->device != page)
			return -ENOENT;
		ff_resident_zap(ctx, pin->device, ff_pin_size(pin));
		mtree_erase(&ctx->pins.tree, page >> FF_SLOT_SHIFT);
	}
	ff_pin_end(ctx, pin);
	return 0;
}

void ff_pins_init(struct ff_pins *pins)
{
	mutex_init(&pins->lock);
	mt_init_flags(&pins->tree, MT_FLAGS_ALLOC_RANGE);
}

/* Nobody uses the context any more; its mirror is still there. */
void ff_pins_release(struct ff_ctx *ctx)
{
	unsigned long slot = 0;
	struct ff_pin *pin;

	mt_for_each(&ctx->pins.tree, pin, slot, ULONG_MAX) {
		ff_resident_zap(ctx, pin->device, ff_pin_size(pin));
		ff_pin_end(ctx, pin);
	}
	mtree_destroy(&ctx->pins.tree);
}
