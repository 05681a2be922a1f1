// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel threads that borrow a memory space whose GS mode is on.
 *
 * kthread_use_mm() makes a kernel thread run with the memory space of a
 * process, as vhost does. It has no mm_cid and never returns to userspace, so
 * its user GS base stays 0, whatever the mode of that memory space is and
 * becomes.
 *
 * Loading the module is the test: it borrows the memory space of the process
 * that loads it. See the README for the interface.
 */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/msr.h>
#include <asm/processor.h>

static unsigned int kthreads = 4;
module_param(kthreads, uint, 0444);
MODULE_PARM_DESC(kthreads, "Kernel threads that borrow the memory space");

static unsigned int rounds = 1000;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "Checks that each of them makes");

struct borrower {
	struct mm_struct *mm;
	/* The first byte of the process's arguments */
	u8 expected;
	unsigned int wrong_bases;
	unsigned int faults;
	struct completion done;
};

/* The user's GS base as the hardware has it while the kernel runs. */
static u64 user_gs_base(void)
{
	u32 low, high;

	rdmsr(MSR_KERNEL_GS_BASE, low, high);
	return (u64)high << 32 | low;
}

static void check(struct borrower *borrower, const char *when)
{
	unsigned long saved = current->thread.gsbase;
	u64 base = user_gs_base();

	if (!base && !saved && !current->thread.gsindex)
		return;
	/* The first one tells enough. */
	if (borrower->wrong_bases++ == 0)
		pr_err("%s %s: GS base %#llx, saved %#lx, selector %#x%s\n",
		       current->comm, when, base, saved,
		       current->thread.gsindex,
		       base >= TASK_SIZE_MAX ? ", not in the user half" : "");
}

static unsigned int any_online_cpu(void)
{
	unsigned int cpu;

	/* Each CPU keeps the one that it chose last. */
	preempt_disable();
	cpu = cpumask_any_distribute(cpu_online_mask);
	preempt_enable();
	return cpu;
}

/* Ways to leave the CPU and come back, perhaps on another one. */
static void leave_cpu(unsigned int round)
{
	if (round % 3 == 0)
		usleep_range(20, 200);
	else if (round % 3 == 1)
		schedule();
	else
		set_cpus_allowed_ptr(current, cpumask_of(any_online_cpu()));
}

static int read_argument(struct mm_struct *mm, u8 *byte)
{
	return get_user(*byte, (u8 __user *)mm->arg_start);
}

static int borrow(void *argument)
{
	struct borrower *borrower = argument;
	unsigned int round;
	u8 byte;

	check(borrower, "before kthread_use_mm()");
	kthread_use_mm(borrower->mm);
	for (round = 0; round < rounds; round++) {
		check(borrower, "with a borrowed memory space");
		if (read_argument(borrower->mm, &byte) ||
		    byte != borrower->expected)
			borrower->faults++;
		leave_cpu(round);
	}
	check(borrower, "with a borrowed memory space");
	kthread_unuse_mm(borrower->mm);
	check(borrower, "after kthread_unuse_mm()");
	/* Not by return: the module may be gone when it has been waited for. */
	kthread_complete_and_exit(&borrower->done, 0);
}

static int __init gs_mode_kthread_init(void)
{
	unsigned int i, started, wrong_bases = 0, faults = 0;
	struct borrower *borrowers;
	struct task_struct *task;
	int error;
	u8 byte;

	if (!kthreads || !rounds)
		return -EINVAL;
	error = read_argument(current->mm, &byte);
	if (error)
		return error;
	borrowers = kcalloc(kthreads, sizeof(*borrowers), GFP_KERNEL);
	if (!borrowers)
		return -ENOMEM;

	mmget(current->mm);
	for (started = 0; started < kthreads; started++) {
		borrowers[started].mm = current->mm;
		borrowers[started].expected = byte;
		init_completion(&borrowers[started].done);
		task = kthread_run(borrow, &borrowers[started], "gs_mode/%u",
				   started);
		if (IS_ERR(task)) {
			error = PTR_ERR(task);
			break;
		}
	}
	for (i = 0; i < started; i++) {
		wait_for_completion(&borrowers[i].done);
		wrong_bases += borrowers[i].wrong_bases;
		faults += borrowers[i].faults;
	}
	mmput(current->mm);
	kfree(borrowers);

	pr_info("%u kthreads, %u rounds each: %u wrong bases, %u faults\n",
		started, rounds, wrong_bases, faults);
	if (error)
		return error;
	if (wrong_bases)
		return -ERANGE;
	return faults ? -EFAULT : 0;
}
module_init(gs_mode_kthread_init);

static void __exit gs_mode_kthread_exit(void)
{
}
module_exit(gs_mode_kthread_exit);

MODULE_DESCRIPTION("Test: kernel threads that borrow a memory space with a GS mode");
MODULE_LICENSE("GPL");
